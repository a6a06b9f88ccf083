"""What Lua and Python share is written once."""

import re
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


def test_no_script_defines_one_itself() -> None:
    """A script that had its own would go on with it when the shared one changes."""
    assert [
        name
        for name, text in FILES.items()
        for word in SHARED
        if re.search(rf"local [^=\n]*\b{word}\b", text)
    ] == []


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


def test_every_script_is_on_the_architecture_page() -> None:
    """Its table says who calls each, and what it does."""
    page = (TASKS.parent / "docs" / "architecture.md").read_text()
    assert [name for name in FILES if f"{Path(name).name}`" not in page] == []
