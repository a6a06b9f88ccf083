"""What the package shows to the world."""

import inspect
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import otpreport
from otpreport.extras import EXTRAS, WORKER
from otpreport.version import VERSION

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def test_all() -> None:
    """`__all__` is sorted and is what a user finds in the package, besides its modules; no other name is there."""
    found = {
        name
        for name in dir(otpreport)
        if not (name.startswith("_") or inspect.ismodule(getattr(otpreport, name)))
    }
    assert otpreport.__all__ == sorted(found - {"TYPE_CHECKING"})
    with pytest.raises(AttributeError, match="has no attribute 'Report'"):
        getattr(otpreport, "Report")  # noqa: B009 - type checkers know that


PROBE = """
import {loop}sys
before = set(sys.modules)
import otpreport, otpreport.testing
from otpreport import *
{more}
print(*(name for name in set(sys.modules) - before if not name.startswith("_sysconfigdata")))
"""
EVENT = """
from datetime import UTC, datetime
event = Verification(account="a", message_id="m", occurred_at=datetime.now(UTC))
try:
    Verification(account="A", message_id="m", occurred_at=datetime.now(UTC))
except ValueError:
    pass
"""
RECORDED = f"{EVENT}\notpreport.testing.RecordingReporter().report(event)"
MADE = "reporter = Reporter('redis://127.0.0.1:1/0', spool=False)"
REPORTED = f"{MADE}\n{EVENT}\nreporter.report(event); reporter.report_many([event])"
AWAITED = f"{REPORTED}\nasyncio.run(reporter.areport(event))"


def brought(more: str, *, with_asyncio: bool = False) -> set[str]:
    """Return the modules that importing ours brings, and what `more` needs besides."""
    probe = PROBE.format(more=more, loop="asyncio, " if with_asyncio else "")
    command = [sys.executable, "-c", probe]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("more", ["", RECORDED], ids=["the import", "a recorded event"])
def test_imports(more: str) -> None:
    """Importing the package, and events themselves, bring hiredis alone: a login service starts as fast as without."""
    found = {name.partition(".")[0] for name in brought(more)}
    assert found - sys.stdlib_module_names == {"otpreport", "hiredis"}
    assert not found & {"asyncio", "ssl"}


def test_a_reporter_pays_for_redis() -> None:
    """Making a Reporter imports redis-py, so that no report imports anything; pydantic it never needs."""
    made, reported = brought(MADE), brought(REPORTED)
    assert {"redis.connection", "ssl"} <= made
    assert "pydantic" not in reported
    assert not reported - made


def test_nor_does_one_that_is_awaited() -> None:
    """An event loop has imported what is its own."""
    assert not brought(AWAITED, with_asyncio=True) - brought(MADE, with_asyncio=True)


def test_the_version_is_the_project_s() -> None:
    """What a program says of itself is what was built."""
    assert PROJECT["version"] == VERSION


def test_the_extras_are_the_project_s() -> None:
    """What is looked for is what the extras bring."""
    extras = PROJECT["optional-dependencies"]
    assert modules_of(extras["worker"]) == set(WORKER)
    assert modules_of(extras["demo"][1:]) == set(EXTRAS["demo"]) - set(WORKER)
    assert extras["demo"][0] == "otpreport[worker]"


LACKING = """
from otpreport import extras
extras.EXTRAS = {"demo": ("no_such_module",)}
print(extras.missing("demo"))
"""


@pytest.mark.parametrize(
    ("noted", "requirement"),
    [
        (None, "otpreport[demo]"),
        ('{"url": "file:///a%20b/otpreport-1.whl", "archive_info": {}}', "/a b/otpreport-1.whl[demo]"),
        (
            '{"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}',
            "otpreport[demo] @ git+https://host/x.git",
        ),
        ('{"url": "https://host/otpreport-1.whl"}', "otpreport[demo] @ https://host/otpreport-1.whl"),
    ],
    ids=("an index", "a file", "a repository", "a URL"),
)
def test_a_missing_extra_is_installed_from_where_this_was(
    tmp_path: Path, noted: str | None, requirement: str
) -> None:
    """Who has a wheel or a clone may have no index that knows the project."""
    package = tmp_path / "otpreport"
    (package / "_app").mkdir(parents=True)
    for name in ("__init__", "extras", "app_folder"):
        source = Path(otpreport.__file__).with_name(f"{name}.py").read_text()
        (package / f"{name}.py").write_text(source)
    about = tmp_path / "otpreport-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: otpreport\nVersion: 1\n")
    if noted:
        (about / "direct_url.json").write_text(noted)
    found = subprocess.run(
        [sys.executable, "-c", LACKING], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    said = "no_such_module is not installed: it is part of the extra [demo]: pip install"
    assert found == f"{said} '{requirement}'\n"


def modules_of(requirements: list[str]) -> set[str]:
    """Return the module that each requirement is imported as."""
    names = {re.split(r"[\[<>=]", requirement)[0].replace("-", "_") for requirement in requirements}
    return {
        module
        for module, distributions in packages_distributions().items()
        if names & {name.replace("-", "_") for name in distributions} and not module.startswith("_")
    }
