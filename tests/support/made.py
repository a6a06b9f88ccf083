"""Folders in build/ that a test's programs are installed in."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def made(name: str, wanted: str, *commands: list[str]) -> Path:
    """Return a folder in which the commands were run, once for each `wanted`."""
    folder = ROOT / "build" / "producers" / name
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for command in commands:
            subprocess.run(command, cwd=folder, check=True, timeout=300, stdout=subprocess.DEVNULL)
        stamp.write_text(wanted)
    return folder
