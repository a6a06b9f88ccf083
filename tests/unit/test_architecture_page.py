"""What docs/architecture.md says of the code, beside who imports whom, is so."""

import ast
import dataclasses
import functools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from config.reference import rows as setting_rows
from tasks.queue.breaker import Breaker
from tasks.retry import Policy
from tasks.script import FUNCTIONS
from tests.unit.test_architecture import MAY_IMPORT, ROOT, known
from worker.cli.app import app

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
    rows = re.findall(r"^\| `(\w+)/` \| .* \| (.*) \|$", section("The packages"), re.MULTILINE)
    assert {
        package: set(re.findall(r"`(\w+)`", cell)) & MAY_IMPORT.keys() for package, cell in rows
    } == MAY_IMPORT


def test_the_table_of_rooms_has_every_folder() -> None:
    """Each folder of code in tasks/ and worker/, and no other."""
    listed = {
        name
        for cell in re.findall(r"^\| (`(?:tasks|worker)/\w+/`.*?) \|", section("The packages"), re.MULTILINE)
        for name in re.findall(r"`([\w/]+)/`", cell)
    }
    folders = {file.parent for top in ("tasks", "worker") for file in (ROOT / top).glob("*/*.py")}
    assert listed == {str(folder.relative_to(ROOT)) for folder in folders}


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
    (row,) = re.findall(r"^\| (`fleet/snapshot.lua`.*?) \| .* \| read-only", PAGE, re.MULTILINE)
    read = re.findall(r"`([\w./]+\.lua)`", row)
    assert len(read) == 3
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


def rows(name: str) -> list[list[str]]:
    """Return the cells of the tables of a section, without their heads."""
    lines = (line for line in section(name).splitlines() if line.startswith("| `"))
    return [re.split(r" \| ", line.strip("| ")) for line in lines]


def test_the_table_of_keys_is_that_of_the_code() -> None:
    """Each key of tasks/keys.py is on the page, with its type, and no other."""
    (keys,) = (
        node for node in ast.parse((TASKS / "keys.py").read_text()).body if isinstance(node, ast.ClassDef)
    )
    named: dict[str, str] = {}
    for function in (node for node in keys.body if isinstance(node, ast.FunctionDef)):
        text = ast.unparse(function.body[-1])
        name = re.search(r"\{self\.prefix\}([^']+)'", text)
        key = re.sub(r"\{(\w+)\}", r"<\1>", name[1]) if name else "otpreport.<account>"
        kind = re.match(r"[A-Z]+", ast.get_docstring(function) or "")
        named[key] = kind[0] if kind else ""
    listed = {
        re.findall(r"`([^`]+)`", cells[0])[0]: cells[1]
        for cells in rows("What Redis holds")
        if cells[0].startswith("`otpreport")
    }
    assert listed == named


def test_the_scripts_build_the_names_of_the_keys() -> None:
    """No script has a key that is not described."""
    source = (TASKS / "keys.py").read_text()
    known_kinds = set(re.findall(r"\}otpreport:([a-z-]+)", source))
    used = {
        kind
        for script in TASKS.rglob("*.lua")
        for kind in re.findall(r"\bkey\('([a-z-]+)'|'otpreport:([a-z-]+)", script.read_text())
        for kind in kind
        if kind
    }
    assert len(used) > 15
    assert used <= known_kinds


def test_the_table_of_scripts_is_the_folder() -> None:
    """Each script stands in it once, with what calls it, and each part in the table of parts."""
    listed = [
        (script, cells[1])
        for cells in rows("What Redis holds")
        if ".lua" in cells[0] and len(cells) == 3
        for script in re.findall(r"`([\w/]+\.lua)`", cells[0])
    ]
    assert sorted(script for script, _ in listed) == SCRIPTS
    for script, caller in listed:
        calling = [(name, text) for name, text in sources("tasks", "worker") if f'("{script}")' in text]
        assert any(
            name.endswith(f"/{word}") or f"class {word}:" in text
            for name, text in calling
            for word in re.findall(r"`([\w.]+?)(?:\.[a-z]+)?`", caller.replace(".py`", ".py.x`"))
        ), f"{script} is called by {[name for name, _ in calling]}"
    parts = [
        cells[0].strip("`") for cells in rows("What Redis holds") if ".lua" in cells[0] and len(cells) == 2
    ]
    assert sorted(parts) == sorted({part for parts in FUNCTIONS.values() for part in parts})


TREE = [
    file
    for top in (*MAY_IMPORT, "tests")
    for file in (ROOT / top).rglob("*")
    if file.suffix in {".py", ".lua", ".yml", ".acl", ".js", ".md", ".json"}
]
SETTINGS = {row.variable.rpartition("__")[2].removeprefix("OTPREPORT_") for row in setting_rows()}
COMMANDS = {command.name or "" for command in typer.main.get_command(app).commands.values()}  # type: ignore[attr-defined]


def absent(row: str) -> list[str]:
    """Return the names in backticks of a row that are in no file which it names, and are no setting or command."""
    words = re.findall(r"`([^`]+)`", row)
    places = [word for word in words if re.search(r"\.(py|lua|yml|acl|js)$|/$", word)]
    texts = [text for place in places for text in contents(place)]
    missing = [place for place in places if not contents(place)]
    names = {word for word in words if re.fullmatch(r"[A-Za-z_.]+", word)} - {*places, *SETTINGS, *COMMANDS}
    return missing + sorted(
        name
        for name in names
        if not any(all(re.search(rf"\b{part}\b", text) for part in name.split(".")) for text in texts)
    )


@functools.cache
def contents(place: str) -> list[str]:
    """Return the texts of the files that a place on the page is: a file, with its folders or without, or a folder."""
    found = [
        file
        for file in TREE
        if f"/{file}".endswith(f"/{place}") or (place.endswith("/") and f"/{place}" in str(file))
    ]
    return [file.read_text() for file in found]


@pytest.mark.parametrize(
    "row",
    [line for line in section("Where to change what").splitlines() if line.startswith("| ")][1:],
    ids=lambda row: row.split("|")[1].strip(),
)
def test_where_to_change_something_is_there(row: str) -> None:
    """Each file exists, and has the names that stand beside it; a word in capitals is a setting or in such a file."""
    assert absent(row.replace("providers/<name>.py", "providers/")) == []


@pytest.mark.parametrize(
    "row", ["| x | `tasks/gone.py` |", "| x | `tasks/retry.py` (`recide`) |", "| x | `MAX_ATEMPTS` |"]
)
def test_a_name_that_is_gone_is_seen(row: str) -> None:
    """A file, a function or a setting."""
    assert len(absent(row)) == 1


def test_settings_that_the_page_names_exist() -> None:
    """A word in capitals anywhere on the page is a setting or a constant."""
    constants = {
        word
        for file in TREE
        if file.suffix in {".py", ".lua"}
        for word in re.findall(r"\b[A-Z][A-Z_]{2,}\b", file.read_text())
    }
    named = set(re.findall(r"`([A-Z][A-Z_]{2,})`", PAGE))
    assert "DEDUPE_TTL" in named & SETTINGS
    assert named - SETTINGS - constants == set()


def test_the_defaults_without_a_setting_are_listed() -> None:
    """What the worker does not pass to the policy and the breaker keeps its default."""
    passed = {
        node.func.id: len(node.args)
        for node in ast.walk(ast.parse((ROOT / "worker" / "runtime.py").read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"Policy", "Breaker"}
    }
    kept = [
        f"{kind.__name__}.{field.name}"
        for kind in (Policy, Breaker)
        for field in dataclasses.fields(kind)[passed[kind.__name__] :]
    ]
    introduction = section("Where to change what").partition("\n| ")[0]
    assert re.findall(r"`(\w+\.\w+)`", introduction) == kept


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
