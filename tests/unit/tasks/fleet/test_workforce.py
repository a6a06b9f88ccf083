"""How many workers an autoscaler should run: what the limits can feed, and no more."""

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.accounts.states import NAMES, WAITING, State
from tasks.fleet.snapshot import AccountSnapshot, Snapshot
from tasks.fleet.workforce import SLOWEST, Work, Workforce, workers_needed
from tasks.limiter.admission import RateGroup
from tasks.limiter.rate import Rate

PACE = 800.0
CONCURRENCY = 400


def work(
    *,
    group: str = "tencent",
    rate: float = 1000.0,
    ready: float = 0.0,
    arriving: float = 0.0,
    beginning: float = 0.0,
    leased: float = 0.0,
) -> Work:
    """Return the work of an account, with none of what is not given."""
    return Work(group, rate, ready, arriving, beginning, leased)


def needed(*items: Work, pace: float = PACE, concurrency: int = CONCURRENCY) -> int:
    """Return the workers for this work."""
    return workers_needed(items, pace=pace, concurrency=concurrency)


@pytest.mark.parametrize(
    ("items", "workers"),
    [
        ([], 1),
        ([work()], 1),
        ([work(arriving=790)], 1),
        ([work(arriving=810)], 2),
        ([work(ready=12_000)], 1),  # 400/s empty it in time
        ([work(ready=12_000, arriving=500)], 2),
        ([work(ready=1e6)], 2),  # the limit, not the queue
        ([work(ready=1e6, rate=200)], 1),  # throttled
        ([work(ready=1e6, arriving=5000)], 2),
        ([work(ready=1e6), work(group="alibaba", rate=500, ready=1e6)], 2),
        ([work(ready=1e6), *(work(group=f"g{n}", rate=500, ready=1e6) for n in range(4))], 4),
    ],
)
def test_workers_for_the_load_that_the_limits_let_through(items: list[Work], workers: int) -> None:
    """As many as the load needs, as far as the limits feed them; one when there is nothing to do."""
    assert needed(*items) == workers


def test_accounts_of_a_group_share_its_limit() -> None:
    """Ten accounts behind one limit need no more workers than one; with a limit each they do."""
    together = [work(ready=1e6) for _ in range(10)]
    apart = [work(group=str(number), ready=1e6) for number in range(10)]
    assert (needed(*together), needed(*apart)) == (2, 13)


def test_a_slow_provider_needs_more_workers_up_to_a_point() -> None:
    """What is in flight counts against CONCURRENCY; a provider that hangs does not call for a crowd."""
    quick = work(ready=1e6, beginning=1000, leased=100)
    slow = work(ready=1e6, beginning=1000, leased=1500)  # 1.5 s each
    hanging = work(ready=1e6, beginning=40, leased=4000)
    assert [needed(one) for one in (quick, slow, hanging)] == [2, 4, math.ceil(1000 * SLOWEST / CONCURRENCY)]
    assert needed(work(ready=1e6, leased=400)) == needed(hanging)  # nothing begun, all of it held


@given(
    st.lists(
        st.builds(
            work,
            group=st.sampled_from("abc"),
            rate=st.floats(1, 5000),
            ready=st.floats(0, 1e7),
            arriving=st.floats(0, 1e5),
            beginning=st.floats(0, 5000),
            leased=st.floats(0, 1e4),
        ),
        max_size=8,
    )
)
def test_never_more_than_the_limits_can_feed(items: list[Work]) -> None:
    """Whatever waits, no worker is asked for that the limits leave without work; at least one is."""
    rates = {item.group: max(i.rate for i in items if i.group == item.group) for item in items}
    capacity = min(PACE, CONCURRENCY / SLOWEST)
    assert 1 <= needed(*items) <= max(1, math.ceil(sum(rates.values()) / capacity))


GROUPS = {"tencent": RateGroup("t", 1000), "alibaba": RateGroup("a", 500)}


def account(
    name: str, second: float, *, ready: int = 0, taken: int = 0, leased: int = 0, state: str = "running"
) -> AccountSnapshot:
    """Return an account as it was at a second of Redis' clock."""
    return AccountSnapshot(
        name,
        configured=True,
        now_ms=round(second * 1000),
        ready=ready,
        scheduled=0,
        records=leased,
        dead=0,
        dead_by_reason={},
        booked={"taken": taken},
        oldest_ms=None,
        state=State(state),
        rate=Rate(),
    )


def seen(second: float, *accounts: AccountSnapshot) -> Snapshot:
    """Return the fleet at a second of Redis' clock."""
    return Snapshot(round(second * 1e6), 1, accounts)


def follow(snapshots: Iterable[Snapshot]) -> list[int | None]:
    """Return what is said after each snapshot."""
    force = Workforce(GROUPS, concurrency=CONCURRENCY, pace=PACE)
    return [force.needed(snapshot) for snapshot in snapshots]


def test_arrivals_count_while_the_queue_stays_short() -> None:
    """A fleet that keeps up with 900 a second has nothing waiting, and still needs two workers."""
    steady = [seen(n, account("tencent", n, taken=900 * n)) for n in range(10)]
    idle = [seen(n, account("tencent", n, taken=900)) for n in range(10)]
    assert follow(steady)[-1] == 2
    assert follow(idle)[-1] == 1


def test_one_odd_second_changes_little() -> None:
    """Arrivals are averaged, so a single second without any does not send a worker away."""
    taken = [1000 * n for n in range(60)]
    gap = [*taken, taken[-1]]
    assert follow(seen(n, account("tencent", n, taken=count)) for n, count in enumerate(gap))[-1] == 2


def test_a_rush_that_is_over_is_forgotten() -> None:
    """Some time after the last event one worker is enough again."""
    rush = [seen(n, account("tencent", n, taken=1000 * min(n, 30))) for n in range(120)]
    answers = follow(rush)
    assert (answers[29], answers[-1]) == (2, 1)


@pytest.mark.parametrize("state", NAMES)
def test_workers_do_not_help_an_account_that_waits(state: str) -> None:
    """A held, stopped or open account needs no worker for its backlog; any other does."""
    backlog = [seen(n, account("tencent", n, ready=10**6, state=state)) for n in (1, 2)]
    assert follow(backlog)[-1] == (1 if state in WAITING else 2)
    assert set(NAMES) >= WAITING


def test_an_account_that_waits_leaves_the_others_their_workers() -> None:
    """Only what can be sent counts: here one account of two."""
    both = [seen(n, account("tencent", n, ready=10**6), account("alibaba", n, ready=10**6)) for n in (1, 2)]
    one = seen(
        3, account("tencent", 3, ready=10**6), account("alibaba", 3, ready=10**6, state="circuit_open")
    )
    lesser = Workforce(GROUPS, concurrency=CONCURRENCY, pace=500)
    assert [lesser.needed(snapshot) for snapshot in (*both, one)] == [None, 3, 2]


def test_books_that_begin_anew_are_no_arrivals() -> None:
    """After Redis was emptied the counts are lower than before; that is no work, nor less than none."""
    assert (
        follow([seen(1, account("tencent", 1, taken=10**6)), seen(2, account("tencent", 2, taken=0))])[-1]
        == 1
    )


def test_nothing_is_said_before_something_was_measured() -> None:
    """A lease of 400 events between two looks within moments is no 100,000 a second; the next look tells."""
    looks = [(1, 0), (1, 0), (1.004, 400), (2, 400), (3, 400)]
    assert follow(seen(s, account("tencent", s, taken=n)) for s, n in looks) == [None, None, None, 1, 1]
