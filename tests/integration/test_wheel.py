"""The wheel: built, installed beside a web app with its own `config` and `tasks`, imported, type-checked."""

import json
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from otpreport.app_folder import PACKAGES
from tests.support.installed import ROOT, add_namesakes, build, installed, run

USER_PROGRAM = """
from datetime import UTC, datetime

import config
import tasks
from otpreport import Receipt, Receipts, Reporter, Verification
from otpreport.testing import RecordingReporter


def login(reporter: Reporter, message_id: str) -> str:
    event = Verification(account="tencent", message_id=message_id, occurred_at=datetime.now(UTC))
    receipt: Receipt = reporter.report(event)
    receipts: Receipts = reporter.report_many([event])
    return f"{receipt.status} {receipts.queued}"


async def login_async(reporter: Reporter, event: Verification) -> Receipt:
    return await reporter.areport(event)


if __name__ == "__main__":
    print(config.MINE, tasks.MINE, login(RecordingReporter(), "2640:1"))
"""

WRONG_PROGRAM = """
from datetime import UTC, datetime

from otpreport import Reporter, Verification

reporter = Reporter("redis://127.0.0.1:6379/0", spool=True)
event = Verification(account=7, message_id="m", occurred_at=datetime.now(UTC))
length: int = reporter.report(event)
"""

PROBE = """
import json, sys
before = set(sys.modules)
import otpreport, otpreport.testing
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(json.dumps({
    "file": otpreport.__file__,
    "foreign": [name for name in new - set(sys.stdlib_module_names) if not name.startswith("_sysconfig")],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, with what is installed here."""
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel into a fresh environment with its dependencies alone; return the python there."""
    return installed(wheel, tmp_path_factory.mktemp("fresh"))


@pytest.fixture
def web_app(tmp_path: Path) -> Path:
    """Return a web app's folder, with packages named as ours are."""
    add_namesakes(tmp_path)
    (tmp_path / "login.py").write_text(USER_PROGRAM)
    return tmp_path


def test_contents(wheel: Path) -> None:
    """The wheel holds the package `otpreport` alone, typed, with the worker's inside, and declares what that needs."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata_name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(metadata_name).decode())
    packages = {name.partition("/")[0] for name in names}
    assert packages == {"otpreport", metadata_name.partition("/")[0]}
    assert "otpreport/py.typed" in names
    inside = {name.removeprefix("otpreport/_app/") for name in names if name.startswith("otpreport/_app/")}
    files = {file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file()}
    assert inside == {str(file.relative_to(ROOT)) for file in files if file.parent.name != "__pycache__"}
    needs = [line for line in metadata.get_all("Requires-Dist") or [] if "extra ==" not in line]
    assert sorted(needs) == ["hiredis>=2.2", "redis<9,>=5.0"]


def test_installed_beside_a_web_app(python: Path, web_app: Path) -> None:
    """A web app with its own `config` and `tasks` keeps them, and reports."""
    assert run(python, "login.py", cwd=web_app) == "my config my tasks queued 1\n"


def test_imports(python: Path, web_app: Path) -> None:
    """Importing the installed package imports hiredis and the standard library, nothing else."""
    found = json.loads(run(python, "-c", PROBE, cwd=web_app))
    assert Path(found["file"]).is_relative_to(python.parents[1])
    assert set(found["foreign"]) <= {"otpreport", "hiredis"}


def test_nothing_else_can_be_imported(python: Path, tmp_path: Path) -> None:
    """Where an app has no `config` and the like, there is none after our package was imported either."""
    probe = "import otpreport, importlib.util as u; print(*(n for n in {} if u.find_spec(n)))"
    assert run(python, "-c", probe.format(PACKAGES), cwd=tmp_path) == "\n"


def type_check(python: Path, program: Path) -> subprocess.CompletedProcess[str]:
    """Check a program's types against the installed package."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        str(python),
        "--config-file=",
        f"--cache-dir={python.parents[1]}",
        "--",
    ]
    return subprocess.run(
        [*command, program.name], cwd=program.parent, capture_output=True, text=True, check=False
    )


def test_typed(python: Path, web_app: Path) -> None:
    """A user's program is type-checked against the installed package."""
    checked = type_check(python, web_app / "login.py")
    assert checked.returncode == 0, checked.stdout


def test_types_find_faults(python: Path, web_app: Path) -> None:
    """The negative control: wrong use of the installed package is found."""
    (web_app / "wrong.py").write_text(WRONG_PROGRAM)
    checked = type_check(python, web_app / "wrong.py")
    assert checked.returncode == 1
    assert "Found 3 errors" in checked.stdout, checked.stdout
