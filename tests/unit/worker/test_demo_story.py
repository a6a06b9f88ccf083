"""The demo's story: its alerts are those that are shipped, and its verdict sees what is not accounted for."""

import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from tasks.accounts.states import State
from tasks.fleet.snapshot import AccountSnapshot
from tasks.limiter.rate import Rate
from tasks.tracking.otps import Country, Otps
from tests.support.alerts import alerts, rules
from worker.demo import alarm
from worker.demo.alarm import HOLD, Alarm, Ring
from worker.demo.audit import Arrival
from worker.demo.story_display import Display
from worker.demo.verdict import Sent, judge


def minutes(
    alarm_: Alarm, count: int, at: Country, each: Country, country: str = "BR"
) -> tuple[Country, list[Ring]]:
    """Look for some minutes, in each of which the counts grow by so much."""
    rung: list[Ring] = []
    for _ in range(count):
        at = at + each
        rung += alarm_.look({country: at})
    return at, rung


def test_usual_traffic_and_a_campaign_are_silent() -> None:
    """Five times the traffic, verified as usual, rings nothing, although fewer are verified in its first minutes."""
    subject = Alarm()
    at, rung = minutes(subject, 30, Country(), Country(10, 6, 6, 4))
    assert not rung
    at, rung = minutes(subject, 1, at, Country(50, 18, 6, 4))
    assert not rung + minutes(subject, 20, at, Country(50, 30, 30, 20))[1]


def test_a_country_whose_sms_do_not_arrive_rings_once() -> None:
    """Once the condition has held for the five minutes that the shipped rule wants."""
    subject = Alarm()
    at, _ = minutes(subject, 30, Country(), Country(10, 6, 6, 4))
    _, rung = minutes(subject, 20, at, Country(10, 0, 0, 10))
    assert [ring.alert for ring in rung] == [
        "OtpreportConversionCollapsed",
        "OtpreportCountryConversionCollapsed",
    ]


@pytest.mark.parametrize(("columns", "trends"), [(80, True), (60, False)])
def test_a_narrow_terminal_has_each_figure_in_one_line(columns: int, trends: bool) -> None:
    """It leaves out the trends before a figure would be cut or wrapped."""
    screen = Console(file=io.StringIO(), width=columns, force_terminal=True, color_system=None, record=True)
    display, looking = Display(screen), Alarm()
    for sent in (100, 1000):
        otps = Otps("alibaba", 0, {"SG": Country(sent, sent, sent, 0)})
        looking.look(otps.countries)
        display.show(1, otps, looking)
    screen.print(display.picture)
    lines = screen.export_text().splitlines()
    [figures] = [line for line in lines if line.startswith("Singapore")]
    assert "900       900     900" in figures
    assert ("100 %" in figures, "█" in figures) == (True, trends)


def test_pumping_rings() -> None:
    """A burst to a country to which nothing was sent, of which nobody verifies one."""
    subject = Alarm()
    minutes(subject, 12, Country(), Country())
    _, rung = minutes(subject, 6, Country(), Country(sent=30))
    assert rung == [Ring("OtpreportOtpsPumped", "BR", 0.0)]
    assert minutes(subject, 6, Country(sent=180), Country(sent=30))[1] == []


def test_they_are_the_shipped_alerts() -> None:
    """The names, the times and the bounds are those of deploy/alerts.yml."""
    shipped = {rule["alert"]: rule for rule in alerts()}
    assert {name: f"{minutes}m" for name, minutes in HOLD.items()} == {
        name: shipped[name]["for"] for name in HOLD
    }
    texts = " ".join(rule["expr"] for rule in rules() if "otps" in rule["expr"])
    for bound in (
        f">= {alarm.BURST} ",
        f"> {alarm.TIMES_USUAL} \\* ",
        f">= {alarm.EXPECTED}\\) < {alarm.HALF}",
        f"burst10m < {alarm.PUMPED}",
    ):
        assert re.search(bound, texts), bound


SENT = [Sent("a", verified=True), Sent("b", verified=False)]
OTPS = Otps("alibaba", 0, {"BR": Country(2, 1, 1, 1)}, queued=1)
ACCOUNT = AccountSnapshot(
    name="alibaba",
    configured=True,
    now_ms=0,
    ready=0,
    scheduled=0,
    records=0,
    dead=0,
    dead_by_reason={},
    booked={"taken": 2, "delivered": 2},
    oldest_ms=None,
    state=State(),
    rate=Rate(),
    otps=OTPS,
)


def arrival(message_id: str, *, verified: bool) -> Arrival:
    """Return a report that the provider took."""
    return Arrival("alibaba", message_id, verified, taken=True, signed=True, at=0.0)


REPORTS = [arrival("a", verified=True), arrival("b", verified=False)]


def test_what_is_accounted_for_has_no_fault() -> None:
    """One report of each, and counts that agree."""
    verdict = judge(SENT, ACCOUNT, REPORTS)
    assert verdict.faults == []
    assert ("OTPs sent", "2") in verdict.lines


Change = Callable[[AccountSnapshot, list[Arrival]], tuple[AccountSnapshot, list[Arrival]]]

BROKEN: dict[str, tuple[Change, str]] = {
    "a negative that came twice": (
        lambda account, reports: (account, [*reports, reports[1]]),
        "1 reports came more than once, for example of b",
    ),
    "a negative that is missing": (
        lambda account, reports: (account, reports[:1]),
        "1 reports are missing, for example of b",
    ),
    "a false negative": (
        lambda account, reports: (account, [*reports, arrival("a", verified=False)]),
        "1 reports are wrong, for example of a",
    ),
    "an OTP that is still open": (
        lambda account, reports: (replace(account, otps=replace(OTPS, open=1)), reports),
        "-1 of no known place, not 0",
    ),
    "one that is counted wrongly": (
        lambda account, reports: (
            replace(account, otps=replace(OTPS, countries={"BR": Country(2, 0, 0, 2)}, queued=2)),
            reports,
        ),
        "0 closed as verified, not 1",
    ),
    "a report that the books lost": (
        lambda account, reports: (replace(account, booked={"taken": 2, "delivered": 1}), reports),
        "1 reports of no known place, not 0",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_every_disagreement_is_seen(what: str) -> None:
    """Each kind makes a fault of its own."""
    change, fault = BROKEN[what]
    assert fault in judge(SENT, *change(ACCOUNT, REPORTS)).faults
