"""What was changed by hand, in a real Redis."""

from typing import Any

import pytest
import redis
from redis.exceptions import OutOfMemoryError

from tasks.fleet import audit
from tasks.fleet.audit import Audit
from tasks.keys import Keys


def test_the_newest_first_with_what_was_said(valkey: redis.Redis) -> None:
    """Details come back as they were given; None is left out; another prefix is another audit."""
    book = Audit(valkey, Keys())
    first = book.record("pause", by="ann@host", account="tencent", reason="maintenance", code=None)
    book.record("rate", by="bob", account="tencent", rate=200.5, list=["a", 1])
    newest, oldest = book.read()
    assert (newest.action, newest.by, newest.details) == (
        "rate",
        "bob",
        {"account": "tencent", "rate": 200.5, "list": ["a", 1]},
    )
    assert (oldest.id, oldest.details) == (first, {"account": "tencent", "reason": "maintenance"})
    assert oldest.at_ms <= newest.at_ms
    assert book.read(1) == [newest]
    assert Audit(valkey, Keys("shop:")).read() == []


def test_it_is_bounded(valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest entries go."""
    monkeypatch.setattr(audit, "MAX_ENTRIES", 100)
    book = Audit(valkey, Keys())
    last = [book.record("rate", by="x", number=number) for number in range(500)][-1]
    entries = book.read()
    assert entries[0].id == last
    assert len(entries) < 250


def test_a_full_redis_takes_it(valkey: redis.Redis) -> None:
    """Whoever pauses an account because Redis is full is written down, too."""
    untyped: Any = valkey
    untyped.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            valkey.set("x", "y")
        Audit(valkey, Keys()).record("pause", by="x")
    finally:
        untyped.config_set("maxmemory", 0)
    assert len(Audit(valkey, Keys()).read()) == 1


def test_what_others_wrote_there_is_shown(valkey: redis.Redis) -> None:
    """It is no entry of ours, and no reason to show nothing."""
    untyped: Any = valkey
    untyped.xadd(Keys().audit, {"note": "by hand"})
    untyped.xadd(Keys().audit, {"action": "x", "by": b"\xff", "details": "no json"})
    newest, oldest = Audit(valkey, Keys()).read()
    assert (newest.by, newest.details) == ("\\xff", {"unreadable": "no json"})
    assert (oldest.action, oldest.by, oldest.details) == ("", "", {})
