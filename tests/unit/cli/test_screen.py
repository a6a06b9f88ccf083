"""How values look, and that nothing from outside steers the terminal."""

import io

import pytest
from rich.console import Console

from worker.cli.screen import safe, screen, table
from worker.fleet.wording import count, iso, moment, number, plain, span

NOON = 1_777_636_800_123  # 2026-05-01T12:00:00.123Z


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.04, "0.0s"),
        (0.43, "0.4s"),
        (9.96, "10.0s"),
        (59.4, "59s"),
        (60, "1m"),
        (302, "5m 2s"),
        (3600, "1h"),
        (90_061, "1d 1h"),
        (8_640_000, "100d"),
    ],
)
def test_a_duration_shows_its_two_greatest_units(seconds: float, shown: str) -> None:
    """An operator reads an age at a glance."""
    assert span(seconds) == shown


def test_times_are_utc() -> None:
    """People get seconds, scripts milliseconds and the zone."""
    assert moment(NOON) == "2026-05-01 12:00:00"
    assert iso(NOON) == "2026-05-01T12:00:00.123Z"
    assert iso(None) is None


def test_numbers_are_grouped() -> None:
    """Large counts can be read, and one is singular."""
    assert number(1234567) == "1,234,567"
    assert [count(n, "letter") for n in (0, 1, 2)] == ["0 letters", "1 letter", "2 letters"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[31mred", r"\x1b[2J\x1b[31mred"),
        ("one\ntwo\r\x07", r"one\ntwo\r\x07"),
        ("\u202edenied", r"\u202edenied"),
        ("[red]markup[/red]", "[red]markup[/red]"),
        ("号码 ok", "号码 ok"),
    ],
)
def test_text_from_outside_cannot_steer_the_terminal(text: str, shown: str) -> None:
    """Control and bidirectional characters are escaped, letters of every script stay."""
    assert plain(text) == shown
    out = io.StringIO()
    screen(out).print(safe(text))
    assert out.getvalue() == shown + "\n"


def test_control_characters_would_get_through_without_escaping() -> None:
    """Negative control: printed as it is, the text reaches the terminal."""
    out = io.StringIO()
    screen(out).print("\x1b[2J")
    assert "\x1b[2J" in out.getvalue()


def test_nothing_is_cut_where_there_is_no_terminal() -> None:
    """`| grep` sees whole lines."""
    out = io.StringIO()
    rows = table("id", "code")
    rows.add_row("tencent:" + "a" * 60, "C" * 100)
    screen(out).print(rows)
    assert "a" * 60 + "  " + "C" * 100 in out.getvalue()


def test_an_id_stays_whole_at_eighty_columns() -> None:
    """The id is there to be copied; the code is folded, not lost."""
    out = io.StringIO()
    rows = table("id", "died", "code")
    rows.columns[0].no_wrap = True
    rows.add_row("tencent:0123456789ab:1234567", "3m ago", "FailedOperation.MissingTemplateToModify" * 2)
    Console(file=out, width=80).print(rows)
    lines = out.getvalue().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert "tencent:0123456789ab:1234567" in out.getvalue()
    assert "".join(line[38:].strip() for line in lines[1:]) == "FailedOperation.MissingTemplateToModify" * 2
