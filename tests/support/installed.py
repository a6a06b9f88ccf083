"""The wheel, built and installed as a user does it, without a network."""

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping
from pathlib import Path

from otpreport.app_folder import PACKAGES

ROOT = Path(__file__).parents[2]

NEEDED = ("redis", "hiredis")
"""The client's dependencies and what they need."""


def run(*command: object, cwd: Path) -> str:
    """Run a command without this environment's own path; return what it printed."""
    done = tried(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tried(
    *command: object, cwd: Path, environment: Mapping[str, str] | None = None, deadline: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command likewise, with this in its environment; return how it ended."""
    ours = ("OTPREPORT_", "PYTHONPATH")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=deadline,
    )


def build(folder: Path) -> Path:
    """Build the wheel, with what is installed here."""
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def installed(wheel: Path, folder: Path, extra: str = "") -> Path:
    """Install a wheel into a new environment; return the python there.

    What it needs is linked from here: for an extra all that is installed here, else what the client needs alone.
    """
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    ours = Path(sysconfig.get_path("purelib"))
    if extra:
        (site / "ours.pth").write_text(str(ours))
    else:
        for name in NEEDED:
            for found in [*ours.glob(name), *ours.glob(f"{name}-*.dist-info")]:
                (site / found.name).symlink_to(found)
    pip = (sys.executable, "-m", "pip", f"--python={python}", "install", "--no-index", "--quiet")
    run(*pip, f"{wheel}[{extra}]" if extra else wheel, cwd=folder)
    return python


def add_namesakes(folder: Path) -> None:
    """Give a web app packages named as ours."""
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f'MINE = "my {name}"\n')
