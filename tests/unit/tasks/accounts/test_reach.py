from tasks.accounts.reach import FIRST, LONGEST, NOT_READY_AFTER, TRIES, Reach
from tasks.accounts.states import State
from tasks.queue.breaker import CallBucket, CallBuckets


def calls(account: str = "tencent", *, unsent: int = 0, answered: int = 0, silent: int = 0) -> CallBuckets:
    """Return calls that ended: how many never left, had an answer, had none."""
    number = unsent + answered + silent
    group = CallBucket(
        number, unsent + silent, unsent=unsent, answered=answered, message="no route" if unsent else ""
    )
    return {(account, 0, 0): group}


def alone(reach: Reach, now: float = 0.0, account: str = "tencent", unsent: int = TRIES) -> list[str]:
    """Let calls fail while others have answers."""
    return reach.learn(calls(account, unsent=unsent), {account}, now)


def test_a_worker_that_alone_fails_leaves_the_account_to_the_others() -> None:
    """After some calls in a row that never left; it is told once."""
    reach = Reach()
    assert alone(reach, unsent=TRIES - 1) == []
    assert not reach.is_aside("tencent")
    assert alone(reach, unsent=1) == ["tencent"]
    assert reach.is_aside("tencent")
    assert alone(reach) == []
    assert [(account, way.message) for account, way in reach.aside()] == [("tencent", "no route")]


def test_where_nobody_has_an_answer_nobody_stands_aside() -> None:
    """An outage of the provider looks the same from every worker: the breaker is for that."""
    reach = Reach()
    reach.learn(calls(unsent=100), (), 0.0)
    assert not reach.is_aside("tencent")
    alone(reach, 1.0)
    assert reach.is_aside("tencent")
    reach.learn(calls(unsent=1), (), 2.0)
    assert not reach.is_aside("tencent"), "the others have no answers any more"


def test_a_call_that_left_is_no_fault_of_the_machine() -> None:
    """An answer ends it; a request that had none says nothing."""
    reach = Reach()
    alone(reach)
    reach.learn(calls(silent=5), (), 1.0)
    assert reach.is_aside("tencent")
    reach.learn(calls(answered=1, unsent=5), {"tencent"}, 2.0)
    assert not reach.is_aside("tencent")


def test_an_account_that_is_held_for_all_is_left_to_nobody() -> None:
    """Its probes go round, and this worker takes its turn."""
    reach = Reach()
    for name in ("running", "recovering"):
        alone(reach)
        reach.judge({"tencent": State(name)})
        assert reach.is_aside("tencent")
    for name in ("circuit_open", "refused"):
        reach.judge({"tencent": State(name)})
        assert not reach.is_aside("tencent")
        alone(reach, unsent=1)


def test_it_is_tried_now_and_then() -> None:
    """One event at a time, ever less often, until one has an answer."""
    reach, now, pauses = Reach(), 0.0, list[float]()
    alone(reach, now)
    assert reach.tries(FIRST - 0.1) == []
    for _ in range(5):
        began = now
        while not reach.tries(now):
            now += 0.5
        pauses.append(now - began)
        assert reach.tries(now) == []
        alone(reach, now, unsent=1)
    assert pauses == [FIRST, 2 * FIRST, 4 * FIRST, LONGEST, LONGEST]
    reach.learn(calls(answered=1), (), now)
    alone(reach, now)
    assert reach.tries(now + FIRST) == ["tencent"]


def test_those_under_way_make_no_try_rarer() -> None:
    """What was begun before the account was left to others ends one by one, and is one failure."""
    reach = Reach()
    for second in range(4):
        alone(reach, float(second))
    assert reach.tries(FIRST) == ["tencent"]


def test_a_worker_that_gets_nothing_out_for_long_is_not_ready() -> None:
    """While others have answers; it is ready again when they have none either, and when one of its own has."""
    reach = Reach()
    alone(reach, 100.0)
    assert reach.fault(100.0 + NOT_READY_AFTER - 1) is None
    alone(reach, 129.0)
    fault = reach.fault(100.0 + NOT_READY_AFTER)
    assert fault == "nothing gets out for 30 s while other workers have answers: no route"
    reach.learn(calls(unsent=1), (), 131.0)
    assert reach.fault(132.0) is None
    alone(reach, 133.0)
    assert reach.fault(133.0)
    reach.learn(calls(answered=1), (), 134.0)
    assert reach.fault(200.0) is None


def test_a_worker_that_serves_another_account_is_ready() -> None:
    """One provider that it can't reach makes no worker useless; but an answer of long ago says nothing."""
    reach = Reach()
    reach.learn(calls("alibaba", answered=1), (), 50.0)
    alone(reach, 100.0)
    assert reach.fault(200.0)
    reach.learn(calls("alibaba", answered=1), (), 201.0)
    assert reach.fault(202.0) is None
