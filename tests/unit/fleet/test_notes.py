"""What stands out in a look."""

from dataclasses import replace
from typing import cast

import pytest

from tasks.accounts.states import NAMES, State
from tasks.fleet.epoch import Loss, Memory
from tasks.fleet.pulse import AccountPulse
from tasks.fleet.snapshot import InFlight
from tasks.limiter.rate import Rate
from tests.support.looks import NOW_MS, Seen, account, look, worker
from worker.fleet import checks
from worker.fleet.notes import Severity, notes
from worker.fleet.record import record
from worker.fleet.wording import STATE_PHRASES


def test_a_quiet_fleet_has_none() -> None:
    """Nothing is said of what is as it should be."""
    assert notes(look(account(), workers=(worker(),))) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name != "running"])
def test_every_state_but_running_is_told(name: str) -> None:
    """What the operator chose, and what fixes itself, is no trouble; anything else is."""
    [note] = notes(look(account(seen=Seen(State(name, "Code", "why"))), workers=(worker(),)))
    assert note.text == f"tencent {STATE_PHRASES[name]}: Code: why"
    assert (note.level is Severity.WARN) == (name in {"paused", "shedding", "recovering"})


@pytest.mark.parametrize(
    ("due", "said"), [(4000, "(next probe in 4 s)"), (-1, "(probe due now)"), (None, "why")]
)
def test_the_next_probe_is_told(due: int | None, said: str) -> None:
    """An open breaker says when it tries."""
    pulse = AccountPulse(probe_at_ms=None if due is None else NOW_MS + due)
    [note] = notes(
        look(account(seen=Seen(State("circuit_open", "", "why")), pulse=pulse), workers=(worker(),))
    )
    assert note.text.endswith(said)


def test_workers_that_are_gone_or_silent_are_told() -> None:
    """With events that wait and nobody to send them it is trouble; the worst comes first."""
    found = notes(look(account(seen=Seen(ready=1)), workers=(worker(lease=-1.0),)))
    assert [note.level for note in found] == [Severity.BAD, Severity.WARN]
    assert found[0].text == "no worker is alive"
    assert "3f9a1c77b2e0 on otp-worker-1 is gone, 64 events to recover" in found[1].text
    [note] = notes(look(account(), workers=(worker(silent=9.0),)))
    assert note.text == (
        "worker 3f9a1c77b2e0 on otp-worker-1 has sent no heartbeat for 9.0s: it may be dead, but counts as alive"
        " until its lease ends in 30s, and its 64 events wait until then"
    )
    assert record(look(account(), workers=(worker(silent=9.0), worker("b"))))["workers_silent"] == 1
    assert notes(look(account(), workers=(worker(silent=4.0),))) == []
    [finding] = checks.workers([worker(silent=9.0), worker("b")], NOW_MS)
    assert (finding.level, finding.text) == (checks.Level.WARN, note.text)


def test_a_loss_and_queues_that_nobody_serves_are_told() -> None:
    """A gap in the books is trouble."""
    found = notes(look(account(seen=Seen(booked={"taken": 3})), workers=(worker(),), unserved={"tencnet": 2}))
    assert [note.level for note in found] == [Severity.BAD, Severity.WARN]
    assert "3 events unaccounted for" in found[0].text
    assert found[1].text == "no worker serves tencnet: 2 events wait"


def test_a_redis_that_lost_its_memory_is_told_for_a_day() -> None:
    """What was held by hand may run again: that is trouble, and the next shift has to know."""
    for ago, told in ((90_000, True), (90_000_000, False)):
        forgetful = replace(
            look(account(), workers=(worker(),)), memory=Memory(loss=Loss(NOW_MS - ago, None, "a held"))
        )
        found = notes(forgetful)
        assert [note.level for note in found] == [Severity.BAD] * told
        assert all(note.text.startswith("1m 30s ago Redis came back empty") for note in found)


def test_clocks_that_are_off_are_told() -> None:
    """Of the living, by name, and no more than a few: a hundred that are off mean that Redis' is."""
    off = [replace(worker(f"w{n}"), redis_ahead=-90_000) for n in range(5)]
    gone = replace(worker("gone", lease=-1.0), redis_ahead=-90_000)
    found = notes(look(account(), workers=(off[0], replace(worker(), redis_ahead=60))))
    assert [note.text for note in found] == [
        "the clock of worker w0 on otp-worker-1 is 90000 s ahead of Redis'"
    ]
    assert [note.level for note in found] == [Severity.WARN]
    assert not any("clock" in note.text for note in notes(look(account(), workers=(gone, worker()))))
    assert "so are the clocks of 2 more workers" in notes(look(account(), workers=tuple(off)))[-1].text


def test_settings_that_differ_are_told() -> None:
    """Account by account, with what differs and how."""
    differing = replace(look(account(), workers=(worker(),)), differences={"tencent": "rate_limit 200 or 50"})
    [note] = notes(differing)
    assert note.level is Severity.WARN
    assert note.text == "live workers have different settings for tencent: rate_limit 200 or 50"


def test_accounts_of_one_rate_are_counted_together() -> None:
    """Each alone looks half idle."""
    pair = account("a", pace=600.0, group="g"), account("b", pace=400.0, group="g")
    [note] = notes(look(*pair, account("c", pace=1.0), workers=(worker(),)))
    assert (note.level, note.text) == (Severity.INFO, "a, b share a rate of 1,000/s: 1,000/s used, 100%")


def test_a_record_keeps_what_scripts_rely_on() -> None:
    """The fields that were there before this one are there still, with their types."""
    found = record(
        look(account(pace=970.0), account("gone", Seen(configured=False, dead=1)), workers=(worker(),))
    )
    assert (found["workers"], found["books_gap"], found["unserved"]) == (1, 1, {})
    first, second = cast("list[dict[str, object]]", found["accounts"])
    assert (first["rate_configured"], first["rate_effective"], first["rate_use"]) == (1000, 1000, 0.97)
    assert (second["configured"], second["rate_configured"], second["rate_use"]) == (False, None, None)


def test_why_a_rate_is_low() -> None:
    """Who lowered it, and since when the provider throttles, once for each group; a short dip is no warning."""
    slow = Rate(
        20.0,
        1000.0,
        NOW_MS / 1000,
        900.0,
        throttled_ms=NOW_MS - 60_000,
        override_ms=NOW_MS - 120_000,
        override_by="kim",
        override_why="ticket 4711",
    )
    found = notes(
        look(
            account(seen=Seen(rate=slow), group="g"),
            account("b", Seen(rate=slow), group="g"),
            workers=(worker(),),
        )
    )
    assert [(note.level, note.text) for note in found] == [
        (
            Severity.WARN,
            "tencent, b limited to 900 of 1,000 requests/s by kim since 2026-05-01 11:58:00 UTC: ticket 4711",
        ),
        (
            Severity.WARN,
            (
                "tencent, b at 20 of 900 requests/s: "
                "the provider throttles since 2026-05-01 11:59:00 UTC, last at 12:00:00"
            ),
        ),
    ]
    dip = Rate(700.0, 1000.0, NOW_MS / 1000)
    [note] = notes(look(account(seen=Seen(rate=dip)), workers=(worker(),)))
    assert (note.level, note.text) == (
        Severity.INFO,
        "tencent at 700 of 1,000 requests/s: the provider throttles, last at 12:00:00",
    )


def test_a_rate_that_is_low_because_of_requests_in_flight() -> None:
    """At the limit with events that wait, and after a restart of Redis; not where the limit is no bound, or is off."""

    def told(
        found: tuple[int, int] | None, *, ready: int = 5, limit: int | None = 3
    ) -> list[tuple[Severity, str]]:
        plain = account(seen=Seen(ready=ready))
        limited = replace(plain, seen=replace(plain.seen, in_flight=found and InFlight(*found, limit)))
        return [(note.level, note.text) for note in notes(look(limited, workers=(worker(),)))]

    full = "tencent has 3 of 3 requests in flight (MAX_IN_FLIGHT)"
    assert told((3, 0)) == [(Severity.INFO, full)]
    assert told((3, 0), ready=0) == told((2, 0)) == told(None) == []
    assert told((3, 0), limit=None) == []
    why = "Redis started anew, or MAX_IN_FLIGHT is new: older requests may be open"
    waits = f"tencent sends nothing for 12 s more: {why}"
    assert told((0, NOW_MS + 12_000)) == [(Severity.INFO, waits)]


def test_an_account_that_no_worker_serves_is_told() -> None:
    """Where every live worker says what it serves, and none names the account; an earlier version may serve all."""
    only = replace(worker(), serves=("tencent",), version="0.1.0")
    accounts = account(), account("alibaba", Seen(ready=3))
    [note] = notes(look(*accounts, workers=(only,)))
    assert (note.level, note.text) == (Severity.BAD, "no live worker serves alibaba: 3 events wait")
    [told] = notes(look(*accounts, workers=(only, worker("earlier"))))
    assert told.text == "live workers run different versions: 0.1.0 (1), an earlier one (1)"
    other = replace(worker("other"), serves=("alibaba",), version="0.1.0")
    assert not notes(look(*accounts, workers=(only, other)))
    gone = replace(worker("other", lease=-1.0), serves=("alibaba",))
    assert any(
        "no live worker serves alibaba" in note.text for note in notes(look(*accounts, workers=(only, gone)))
    )
