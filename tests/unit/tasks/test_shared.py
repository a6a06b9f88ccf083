"""What Lua and Python share is written once."""

import ast
import re
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from otpreport.wire import queue_keys
from tasks.script import FUNCTIONS, text_of
from tasks.shared import SHARED, literal, prelude

TASKS = Path(__file__).parents[3] / "tasks"
FILES = {str(file.relative_to(TASKS)): file.read_text() for file in sorted(TASKS.rglob("*.lua"))}
PARTS = {part for parts in FUNCTIONS.values() for part in parts}


@pytest.mark.parametrize("name", sorted(FILES.keys() - PARTS))
def test_a_script_has_what_it_names(name: str) -> None:
    """Each shared number that a script or its functions name is defined before them, and no other."""
    first, defined, *_ = text_of(name).split("\n")
    assert first.startswith("#!lua")
    named = {word for word in SHARED if re.search(rf"\b{word}\b", text_of(name).removeprefix(first))}
    assert {word for word in SHARED if re.search(rf"^local .*\b{word}\b.*=", defined)} == named


@pytest.mark.parametrize("name", sorted(FILES.keys() - PARTS))
def test_a_constant_that_a_script_uses_is_there(name: str) -> None:
    """In it, in a part that it includes, or among the shared; Lua would find out only when it comes to it."""
    code = re.sub(r"--.*|'[^'\n]*'|\"[^\"\n]*\"", "", text_of(name))
    defined = {
        word for names in re.findall(r"\blocal ([\w, ]+?) *(?:=|\n)", code) for word in names.split(", ")
    }
    assert set(re.findall(r"(?<![\w.])[A-Z][A-Z_]+\b", code)) <= defined | {"ARGV", "KEYS"}


def test_no_script_defines_one_itself() -> None:
    """A script that had its own would go on with it when the shared one changes."""
    assert [
        name
        for name, text in FILES.items()
        for word in SHARED
        if re.search(rf"local [^=\n]*\b{word}\b", text)
    ] == []


def constants(source: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers that a Python file names."""
    for node in ast.parse(source).body:
        match node:
            case (
                ast.Assign(targets=[target], value=value)
                | ast.AnnAssign(target=target, value=ast.expr() as value)
            ):
                names = target.elts if isinstance(target, ast.Tuple) else [target]
                values = value.elts if isinstance(value, ast.Tuple) else [value]
                for name, each in zip(names, values, strict=False):
                    if isinstance(name, ast.Name) and (number := computed(each)) is not None:
                        yield name.id, number
            case _:
                continue


def computed(value: ast.expr) -> float | None:
    """Return the number that an expression of literals comes to; None if it has anything else."""
    if any(isinstance(node, ast.Name | ast.Attribute | ast.Call) for node in ast.walk(value)):
        return None
    number = eval(ast.unparse(value))
    return number if isinstance(number, int | float) and not isinstance(number, bool) else None


def literals(script: str) -> set[float]:
    """Return the numbers in a script that tell something: not a round one, a small one, or a day."""
    code = re.sub(r"--.*", "", script)
    found = re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", code)
    return {float(number) for number in found if not re.fullmatch(r"0*\.?0*\d0*|[12]\d|864000*", number)}


def repeats(script: str, numbers: Collection[float]) -> set[float]:
    """Return the numbers that a script has, too: as they are, in ms or in us."""
    return literals(script) & {number * unit for number in numbers for unit in (1, 1000, 1000000)}


NUMBERS = {
    f"{file.relative_to(TASKS)}: {name}": number
    for file in sorted(TASKS.rglob("*.py"))
    for name, number in constants(file.read_text())
}
CHANCE = {("queue/recover.lua", 64): "dead workers in one call; in Python bytes of a name, messages, samples"}
"""Numbers of scripts that mean something else than the same number in Python."""


def test_a_number_stands_in_one_language() -> None:
    """No script writes a number that Python has a name for: the one would change without the other."""
    assert len(NUMBERS) > 50
    found = {(script, number) for script, text in FILES.items() for number in repeats(text, NUMBERS.values())}
    assert found == CHANCE.keys()


def test_a_name_stands_in_one_language() -> None:
    """No script defines a name that a number of Python's has: they would be taken for the same one."""
    names = {name.rpartition(" ")[2] for name in NUMBERS} - {"DAY"}
    own = {
        f"{script}: {name}"
        for script, text in FILES.items()
        for line in re.findall(r"^ *local ([A-Z_, ]+) = ", text, re.MULTILINE)
        for name in line.split(", ")
        if name in names
    }
    assert own == set()


@pytest.mark.parametrize(
    ("python", "lua"),
    [
        ("BUCKETS = 2**17", "local buckets = 131072"),
        ("A, WIDTH = 1, 43_200", "local function f() return now / 43200 end"),
        ("SOON: Final = 3 * 86_400.0", "local soon = 259200000"),
        ("TURN = 0.035", "local turn = 35"),
    ],
)
def test_a_repeated_number_is_seen(python: str, lua: str) -> None:
    """In each of these made-up pairs; a round number, or one in a comment, is none."""
    assert len(repeats(lua, dict(constants(python)).values())) == 1
    assert not repeats("redis.call('EXPIRE', key, 600) -- 43200", [600, 43200])


@pytest.mark.parametrize("word", SHARED)
def test_each_is_of_use(word: str) -> None:
    """Some script names it."""
    assert any(re.search(rf"\b{word}\b", text) for text in FILES.values())


def test_values_are_written_as_lua_reads_them() -> None:
    """Numbers as they are, texts with what is no letter by its number, a set as a table of true."""
    assert literal((0.01, "a\x06")) == '{0.01, "a\\006"}'
    assert literal(frozenset({"open"})) == "{open = true}"
    assert prelude("nothing of it") == ""
    assert prelude("x = CLIMB") == "local CLIMB = 6e-05 "


def test_the_lists_of_a_queue_have_the_shared_suffixes() -> None:
    """The scripts build the names that producers push to."""
    suffixes = SHARED["PRIORITY_SUFFIXES"]
    assert isinstance(suffixes, tuple)
    assert queue_keys("", "a") == tuple(f"otpreport.a{suffix}" for suffix in suffixes)
