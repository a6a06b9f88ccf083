"""What the runbooks tell an operator to type runs as it stands there, and shows the columns of the page."""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.command import ROOT, call
from tests.support.dead import Undertaker
from worker.cli.errors import WRONG

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RUNBOOKS = PAGE.partition("\n## Alerts\n")[2].partition("\n## The dashboard\n")[0]

COMMAND = re.compile(
    r"(?:^ {4,}|`)(?:docker compose run --rm (?:-T )?operator |otpreport )([a-z][^`\n]*(?:\n[^`\n]+`)?)"
    r"|`((?:accounts|dead) [a-z]+ [^`]+)`",
    re.MULTILINE,
)
ASKING = {"pause", "replay", "recall", "purge"}
"""Commands that ask first: here nobody answers."""

ENDLESS = "--watch"


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a text, each once, without what a shell does with their output."""
    found = (" ".join((match[1] or match[2]).strip("`").split()) for match in COMMAND.finditer(text))
    yield from dict.fromkeys(
        re.split(r" (?:[|>]|&&)", command)[0] for command in found if ENDLESS not in command
    )


def typed(command: str, places: Mapping[str, str]) -> list[str]:
    """Return the words of a command, with those in capitals filled in."""
    words = [places.get(word, word) for word in shlex.split(command)]
    return [*words, "--yes"] if ASKING & set(words[:2]) and "--yes" not in words else words


@pytest.mark.parametrize("command", [*commands(RUNBOOKS)])
def test_a_command_of_a_runbook_runs(
    url: str, undertaker: Undertaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """No command is refused as wrongly used, whether or not it finds something to do."""
    letters = undertaker.bury("tencent") if "ID" in command.split() else ["none"]
    monkeypatch.chdir(tmp_path)
    name = "tencnet" if "--unserved" in command else "tencent"
    ran = call(url, *typed(command, {"NAME": name, "ID": letters[0], "CC": "BR", "N": "100"}))
    assert ran.status != WRONG, ran.err


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("    otpreport dead stats --since 2h", "dead stats --since 2h"),
        ("1. `otpreport status` says why.", "status"),
        (
            '`otpreport accounts pause NAME --reason "it\n   would"`',
            'accounts pause NAME --reason "it would"',
        ),
        ("then `accounts rate NAME default`", "accounts rate NAME default"),
        ("       docker compose run --rm -T operator dead export --all > old &&", "dead export --all"),
    ],
)
def test_commands_are_found(text: str, command: str) -> None:
    """In a block and in a sentence, over two lines, with and without the program's name, with compose."""
    assert list(commands(text)) == [command]


def test_the_page_shows_the_columns_of_status(url: str) -> None:
    """A table of `status` on a page has the columns that the command prints."""
    columns = call(url, "status").out.splitlines()[0].split()
    shown = [line.split() for line in PAGE.splitlines() if line.startswith("account  state ")]
    assert shown
    assert all(line == columns for line in shown)
