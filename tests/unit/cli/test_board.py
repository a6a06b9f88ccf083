"""The fleet drawn for every width."""

import io

import pytest
from rich.console import Console

from tasks.accounts.states import NAMES, State
from tasks.fleet.pulse import AccountPulse, ErrorSeen
from tests.support.looks import NOW_MS, Seen, account, look, worker
from worker.cli.account_table import MARKS
from worker.cli.board import Canvas
from worker.cli.screen import PIPED_WIDTH
from worker.cli.shapes import bar, short, shortened, sparkline, whole
from worker.cli.status import picture
from worker.fleet.status import FleetStatus

HOSTILE = "\x1b[2J\u202egnp.exe <script>"


def drawn(seen: FleetStatus | None, canvas: Canvas, fault: str = "") -> list[str]:
    """Return the lines of a picture, as a terminal without colours has them."""
    out = io.StringIO()
    console = Console(file=out, width=canvas.width, markup=False, highlight=False, emoji=False)
    console.print(picture(seen, fault, canvas))
    return out.getvalue().splitlines()


def busy() -> FleetStatus:
    """Return a fleet in which much goes on, with long names."""
    error = ErrorSeen(
        NOW_MS - 60_000, "throttled", "RequestLimitExceeded", f"{HOSTILE} and a long story " * 5
    )
    pulse = AccountPulse(dead_last_minute=1, dead_last_hour=812, last_error=error)
    great = Seen(State("circuit_open", "no_answer", HOSTILE), ready=12_345_678, dead=1_234_567, oldest_ms=1)
    accounts = [account(f"a-long-name-of-an-account-{i}", great, pulse=pulse, pace=987.6) for i in range(3)]
    workers = tuple(worker(f"{i:012x}") for i in range(40))
    return look(*accounts, account(), workers=workers, unserved={"tencnet": 3})


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_nothing_is_wider_than_the_terminal(width: int) -> None:
    """Figures, states and titles are whole; names and messages may be cut."""
    lines = drawn(busy(), Canvas(width, 40, drawn=True))
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for piece in (
        "✖ circuit open",
        "● running",
        "99%" if width >= 100 else "sent",
        "1,234,567" if width >= 200 else "1.2M",
        "+812" if width >= 100 else "ready",
        "oldest",
    ):
        assert piece in text
    table = "\n".join(lines[: lines.index("", 2)])
    assert ("a-long-name-of-an-account-1" in table) == (width >= 120)
    assert ("trend" in text, "delivered/s" in text) == (width == 200, width == 200)


def test_as_many_workers_as_there_is_room_for() -> None:
    """The rest is counted; what scrolls has all."""
    lines = drawn(busy(), Canvas(120, 28, drawn=True))
    assert len(lines) <= 30
    assert any("more" in line for line in lines)
    lines = drawn(busy(), Canvas(120, drawn=True))
    assert sum("otp-worker-1" in line for line in lines) == 40


@pytest.mark.parametrize("canvas", [Canvas(80, 40, drawn=True), Canvas(PIPED_WIDTH)])
def test_nothing_from_outside_steers_the_terminal(canvas: Canvas) -> None:
    """Escapes and marks that turn the writing are shown as such."""
    text = "\n".join(drawn(busy(), canvas))
    assert not {"\x1b", "\u202e"} & set(text)
    assert r"\x1b[2J\u202egnp.exe" in text


def test_a_pipe_gets_words_alone() -> None:
    """No marks, no bars, every message whole in its line."""
    lines = drawn(busy(), Canvas(PIPED_WIDTH))
    text = "\n".join(lines)
    assert lines[0] == "2026-05-01 12:00:00 UTC"
    assert not set("●✖━▲▁█") & set(text)
    assert "40 workers alive, redis://redis.example:6379/0" in lines


def test_redis_away_is_said_above_the_last_figures() -> None:
    """Nobody takes old figures for new ones; without any there is the reason alone."""
    assert drawn(None, Canvas(80, 40, drawn=True), "can't be reached") == ["can't be reached"]
    lines = drawn(look(account(), workers=(worker(),)), Canvas(80, 40, drawn=True), "can't be reached")
    assert "redis unreachable  as of 12:00:00 UTC" in lines[0]
    assert lines[1] == "can't be reached"


def test_a_quiet_fleet_says_so() -> None:
    """The eye finds in one place whether anything is wrong."""
    lines = drawn(look(account(), workers=(worker(),)), Canvas(80, 40, drawn=True))
    assert "healthy" in lines[0]
    assert "nothing needs attention" in "\n".join(lines)


def test_a_silent_worker_is_not_counted_as_if_it_lived() -> None:
    """Until its lease ends nobody knows whether it is dead: the count says that, and its own line how long."""
    fleet = look(account(), workers=(worker(silent=12.0), worker("b")))
    lines = drawn(fleet, Canvas(80, 40, drawn=True))
    assert lines[0].startswith("otpreport  2 workers, 1 silent  ")
    assert any("12s ago" in line for line in lines)
    assert "2 workers alive (1 silent), redis://redis.example:6379/0" in drawn(fleet, Canvas(PIPED_WIDTH))


def test_long_names_are_told_apart() -> None:
    """Where they have no room they lose their middle: names of one kind differ at their ends."""
    names = [f"a-very-long-name-of-an-account-in-production-{number}" for number in range(3)]
    lines = drawn(
        look(*(account(name, pace=800.0) for name in names), workers=(worker(),)), Canvas(80, 40, drawn=True)
    )
    shown = [line.split()[0] for line in lines if line.startswith("a-very")]
    assert len(set(shown)) == 3
    assert all("…" in name for name in shown)


def test_every_state_has_a_mark() -> None:
    """Colour is never the only sign."""
    assert MARKS.keys() == set(NAMES)
    assert len(set(MARKS.values())) == len(MARKS)


@pytest.mark.parametrize(
    ("share", "drawing"), [(0, "────"), (0.001, "╸───"), (0.5, "━━──"), (1, "━━━━"), (9, "━━━━")]
)
def test_a_bar_is_never_longer_than_its_room(share: float, drawing: str) -> None:
    """A little is never shown as nothing, and without colours the rest looks other than what is filled."""
    assert bar(share, 4, "cyan").plain == drawing
    assert not bar(share, 0, "cyan").plain


def test_small_forms() -> None:
    """Counts fit six characters, a name keeps both ends, a line its highest step."""
    assert [short(n) for n in (0, 99_999, 100_000, 999_499, 999_500, 12_345_678, 2e9)] == [
        *("0", "99,999", "100k", "999k", "1.0M", "12M", "2.0G"),
    ]
    assert [shortened("tencent-prod", 12), shortened("tencent-production", 11)] == [
        "tencent-prod",
        "tence…ction",
    ]
    assert [sparkline((0, 50, 100), 0), sparkline((50,), 100), sparkline((), 1)] == ["▁▅█", "▅", ""]
    assert [whole(-5), whole(8_999), whole(61_000)] == ["0s", "8s", "1m 1s"]


@pytest.mark.parametrize("width", [40, 60])
def test_a_narrow_terminal_keeps_the_names(width: int) -> None:
    """Where there is little room, columns go before the names, without which rows can't be told apart."""
    rows = drawn(busy(), Canvas(width, 40, drawn=True))
    assert max(map(len, rows)) <= width
    names = [account.name for account in busy().accounts if account.matters]
    table = rows[rows.index(next(row for row in rows if row.startswith("account"))) :]
    for name, row in zip(names, table[1:], strict=False):
        assert row.split()[0] == shortened(name, len(row.split()[0]))
        assert len(row.split()[0]) >= min(len(name), 12 if width >= 60 else 8)
