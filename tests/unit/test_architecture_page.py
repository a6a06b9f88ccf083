"""What docs/architecture.md says of the code, beside who imports whom, is so."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.script import FUNCTIONS
from tests.unit.test_architecture import MAY_IMPORT, ROOT, known

PAGE = (ROOT / "docs" / "architecture.md").read_text()
TASKS = ROOT / "tasks"
SCRIPTS = sorted(
    {str(file.relative_to(TASKS)) for file in TASKS.rglob("*.lua")}
    - {part for parts in FUNCTIONS.values() for part in parts}
)
PROVIDERS = sorted((ROOT / "providers").glob("*.py"))

WORLD = {
    *(
        "asyncio",
        "datetime",
        "http.client",
        "io",
        "os",
        "pathlib",
        "random",
        "secrets",
        "select",
        "shutil",
        "signal",
    ),
    *("socket", "ssl", "subprocess", "sys", "tempfile", "threading", "urllib.request", "uuid"),
}
"""Modules that know a file, a network, a clock or chance."""

PURE_TIME = {"gmtime", "strftime"}
"""What of `time` writes a moment that is given."""


def section(name: str) -> str:
    """Return the text of a section of the page."""
    return PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def sources(*packages: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every Python file of these packages."""
    for package in packages:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield str(file.relative_to(ROOT)), file.read_text()


def test_the_table_of_packages_says_who_may_import_whom() -> None:
    """Its last column is what test_architecture.py holds the packages to."""
    told: dict[str, set[str]] = {}
    for package, _, cell in re.findall(
        r"^\| `(\w+)/` \| (.*) \| (.*) \|$", section("The packages"), re.MULTILINE
    ):
        named = set(re.findall(r"`(\w+)", cell))
        told[package] = named | set(told) if "all of the above" in cell else named
    assert told == {package: MAY_IMPORT[package] for package in told}
    assert set(told) == set(MAY_IMPORT) - {"deploy"}


def test_the_simulator_is_started_from_the_command_line_and_the_demo_alone() -> None:
    """Nothing that reports could send to it by mistake."""
    knowing = {
        name
        for name, text in sources("worker")
        if any(module.partition(".")[0] == "simulator" for module in known(text))
    }
    assert knowing
    assert all(name.startswith(("worker/cli/", "worker/demo/")) for name in knowing)


def impure(source: str) -> list[str]:
    """Return what a source uses that no pure function needs: files, sockets, clocks, chance."""
    found = [module for module in known(source) if module in WORLD or module.startswith("time.")]
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name("time"), attr=name) if name not in PURE_TIME:
                found.append(f"time.{name}")
            case ast.Call(func=ast.Name("open" | "print" | "input" as name)):
                found.append(name)
            case _:
                continue
    return found


@pytest.mark.parametrize("file", [*PROVIDERS, TASKS / "retry.py"], ids=lambda file: file.name)
def test_what_is_pure_knows_no_world(file: Path) -> None:
    """A provider and the policy get the time, a nonce and chance as arguments."""
    assert impure(file.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "import socket",
        "from time import time",
        "import time\nx = time.time()",
        "def f():\n    from datetime import datetime",
        "open('x')",
        "import urllib.request",
    ],
)
def test_a_look_at_the_world_is_seen(source: str) -> None:
    """Each of these made-up files is refused; to write a moment that is given is not."""
    assert impure(source)
    assert not impure("import time\nx = time.strftime('%Y', time.gmtime(0))")


def test_one_file_builds_the_worker() -> None:
    """`worker/runtime.py` alone makes what works on events."""
    parts = {"Admission", "Engine", "Heartbeat", "Keeper", "RateGroups", "Report", "States"}
    made = {
        (node.func.id, name)
        for name, text in sources("worker", "tasks")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in parts
    }
    assert made == {(part, "worker/runtime.py") for part in parts}


def test_the_services_are_those_that_are_started() -> None:
    """The table has each task that runs until the worker ends, and no other."""
    told = re.findall(r"^\| `(\w+\.\w+)` \|", section("What runs where"), re.MULTILINE)
    started = re.findall(r'^ +"(\w+\.\w+)": ', (ROOT / "worker" / "runtime.py").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(started)
    assert len(told) > 1


@pytest.mark.parametrize("folder", ["worker/cli", "worker/fleet"])
def test_commands_and_exporter_have_a_synchronous_client(folder: str) -> None:
    """What an operator starts runs no loop of the worker's."""
    assert [name for name, text in sources(folder) if "redis.asyncio" in set(known(text))] == []


def test_what_looks_at_the_fleet_changes_nothing() -> None:
    """The scripts that are said to be read-only can't write, and nothing that writes is known there."""
    (row,) = re.findall(r"^\| (`fleet/snapshot.lua`.*)\| .*read-only", PAGE, re.MULTILINE)
    names = {Path(name).name for name in re.findall(r"`([\w./]+\.lua)`", row)}
    read = {script for script in SCRIPTS if Path(script).name in names}
    assert len(read) == len(names) == 3
    assert all((TASKS / script).read_text().startswith("#!lua flags=no-writes\n") for script in read)
    writing = {
        "tasks.fleet.operation",
        "tasks.fleet.audit",
        "tasks.dead_letters.store",
        "tasks.queue.scheduled",
    }
    assert [name for name, text in sources("worker/fleet") if writing & set(known(text))] == []


@pytest.mark.parametrize(
    ("module", "what"), [("tasks.fleet.operation", "Operation"), ("tasks.queue.scheduled", "ScheduledEvents")]
)
def test_a_command_that_changes_something_is_written_down(module: str, what: str) -> None:
    """Whoever knows what changes Redis by hand knows the audit trail."""
    changing = [name for name, text in sources("worker/cli") if f"{module}.{what}" in set(known(text))]
    assert changing
    assert all("worker.cli.written" in set(known((ROOT / name).read_text())) for name in changing)


def words(source: str) -> set[str]:
    """Return the texts that stand in a source, but for docstrings."""
    module = ast.parse(source)
    docstrings = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    constants = (
        node for node in ast.walk(module) if isinstance(node, ast.Constant) and id(node) not in docstrings
    )
    return {node.value for node in constants if isinstance(node.value, str)}


def test_one_file_translates_the_states() -> None:
    """Redis' words for them stand in states.py, and those that scripts need from Python in shared.py.

    In record.py an OTP is open.
    """
    knowing = {name for name, text in sources("tasks", "worker") if words(text) & {"open", "stopped", "held"}}
    assert knowing - {"worker/fleet/record.py"} == {"tasks/accounts/states.py", "tasks/shared.py"}


def test_one_file_names_the_keys() -> None:
    """No other builds the name of a key of Redis'."""
    naming = {
        name
        for name, text in sources("tasks", "worker")
        if any(re.match(r"otpreport:[a-z]", word) for word in words(text))
    }
    assert naming == {"tasks/keys.py"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_scripts_header_says_what_it_takes_and_costs(script: str) -> None:
    """Keys or arguments, reply and cost."""
    header = re.match(r"#!lua .*\n((?:--.*\n)+)", (TASKS / script).read_text())
    assert header is not None
    said = set(re.findall(r"^-- (KEYS|ARGV|reply|cost) ", header[1], re.MULTILINE))
    assert {"reply", "cost"} <= said
    assert said & {"KEYS", "ARGV"}


def test_one_file_reads_the_clock_that_goes_on_in_sleep() -> None:
    """The lease is judged by it, and nothing else."""
    clock = "CLOCK_BOOTTIME"
    assert [name for name, text in sources("tasks", "worker") if clock in text] == ["tasks/queue/queue.py"]


def test_libraries_whose_internals_are_used_are_capped() -> None:
    """Each that the page names has an upper bound; kombu has celery's."""
    listed = re.findall(r"^\| ([a-z-]+)[^|]*\|", section("Internals of other libraries"), re.MULTILINE)
    names = {"redis" if name == "redis-py" else name for name in listed} - {"library", "kombu", "---"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    assert len(names) > 2
    for name in names:
        assert any(re.match(rf"{name}(\[\w+\])?>=.*<", one) for one in needed), name
