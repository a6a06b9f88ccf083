"""Which planned fault meets an arrival."""

from collections import Counter

import pytest

from simulator.dice import throw
from simulator.faults import FaultTable
from simulator.plan import Fault
from simulator.request import Call, Request

REQUEST = Request(b"POST", b"/", {}, b"")


def _call(message_id: str = "m", *, provider: str = "tencent", key: str = "k") -> Call:
    return Call(REQUEST, provider, "ReportConversion", key=key, message_id=message_id)


def _kind(table: FaultTable, it: Call, *, arrival: int = 1, elapsed: float = 0.0, chance: float = 0.0) -> str:
    fault = table.pick(it, arrival, elapsed, chance)
    return fault.kind if fault else ""


def test_shares_are_laid_end_to_end() -> None:
    """Two shares never overlap, and what is behind them is free of faults."""
    table = FaultTable((Fault("reset", share=0.25), Fault("hang", share=0.5)))
    assert [_kind(table, _call(), chance=c) for c in (0.0, 0.24, 0.25, 0.74, 0.75, 0.99)] == [
        *("reset", "reset", "hang", "hang"),
        *("", ""),
    ]


def test_shares_are_kept_over_many_calls() -> None:
    """Of many ids, each fault meets about its share."""
    table = FaultTable((Fault("reset", share=0.1), Fault("hang", share=0.3)))
    ids = [f"id-{n}" for n in range(5000)]
    met = Counter(_kind(table, _call(name), chance=throw(3, name, 1).fault) for name in ids)
    assert met["reset"] == pytest.approx(500, abs=100)
    assert met["hang"] == pytest.approx(1500, abs=150)


@pytest.mark.parametrize(
    ("fault", "met", "spared"),
    [
        (Fault("hang", provider="tencent"), _call(), _call(provider="alibaba")),
        (Fault("hang", key="k"), _call(), _call(key="other")),
        (Fault("hang", message_id="hang-*"), _call("hang-1"), _call("a-hang-1")),
        (Fault("hang", message_id="*[05]"), _call("id-5"), _call("id-4")),
    ],
    ids=["provider", "key", "prefix", "pattern"],
)
def test_a_fault_meets_only_whom_it_concerns(fault: Fault, met: Call, spared: Call) -> None:
    """Provider, key and message id narrow a fault."""
    table = FaultTable((fault,))
    assert (_kind(table, met), _kind(table, spared)) == ("hang", "")


def test_a_fault_may_meet_only_the_first_arrivals_of_an_id() -> None:
    """`arrivals = 2` lets the third attempt pass."""
    table = FaultTable((Fault("hang", arrivals=2),))
    assert [_kind(table, _call(), arrival=n) for n in (1, 2, 3)] == ["hang", "hang", ""]


def test_an_outage_has_a_beginning_and_an_end() -> None:
    """`from_s` and `to_s` are a half-open window."""
    table = FaultTable((Fault("unavailable", from_s=1, to_s=2),))
    assert [_kind(table, _call(), elapsed=t) for t in (0.9, 1.0, 1.9, 2.0)] == [
        "",
        *("unavailable", "unavailable"),
        "",
    ]


def test_a_rule_before_a_share_leaves_nothing_to_it() -> None:
    """For ids of a certain rule the shares behind it do not count, for the others they are whole."""
    table = FaultTable((Fault("hang", message_id="hang-*"), Fault("reset", share=0.5)))
    assert {_kind(table, _call("hang-1"), chance=c) for c in (0.0, 0.6, 0.999)} == {"hang"}
    assert [_kind(table, _call("m"), chance=c) for c in (0.0, 0.49, 0.5)] == ["reset", "reset", ""]
