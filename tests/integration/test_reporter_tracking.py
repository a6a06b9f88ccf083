"""A reporter with tracking: what it writes beside its reports, and that no fault of it costs a report."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from otpreport import Dispatch, Receipt, Reporter, Verification
from otpreport.store import waiting
from tests.support.admin import admin
from tests.support.events import NOON, arrived, verification
from tests.support.wait import until
from worker.embedded import EmbeddedValkey

PATIENCE = 20.0
"""Seconds: where a budget is not what is tested, a stalled machine shall not fail the test."""
SENT, VERIFIED = b"sent 1777636800000 600 SG %d", b"verified 1777636800000 %d"


def dispatch(number: int = 1, account: str = "tencent") -> Dispatch:
    """Return a good one whose message id is the number."""
    return Dispatch(account=account, message_id=str(number), sent_at=NOON, country="SG")


def unverified(number: int) -> Verification:
    """Return an event of a code that was never entered."""
    return Verification(account="tencent", message_id=str(number), occurred_at=NOON, verified=False)


def notices(client: redis.Redis, account: str = "tencent") -> list[bytes]:
    """Return an account's notices, the first written first."""
    return cast("list[bytes]", client.lrange(f"otpreport.{account}.otps", 0, -1))[::-1]


def noted(client: redis.Redis) -> list[bool]:
    """Return which reports say that their notice is written, the first first."""
    raws = cast("list[bytes]", client.lrange("otpreport.tencent", 0, -1))
    return [json.loads(raw)["headers"].get("noted") == 1 for raw in raws[::-1]]


@pytest.fixture
def reporter(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> Iterator[Reporter]:
    """Return a patient reporter with tracking, to an empty server."""
    with Reporter(
        shared_valkey.url, spool=False, timeout=PATIENCE, accounts=["tencent", "alibaba"], tracking=True
    ) as made:
        yield made


async def test_notices(reporter: Reporter, valkey: redis.Redis) -> None:
    """Each OTP sent, and each verified, is a line of its account; a false report has none and says so."""
    assert reporter.report(dispatch(1)) == Receipt("queued")
    assert await reporter.areport(dispatch(2)) == Receipt("queued")
    assert reporter.report(verification(1)) == Receipt("queued")
    assert await reporter.areport(verification(2)) == Receipt("queued")
    assert reporter.report(unverified(3)) == Receipt("queued")
    assert notices(valkey) == [SENT % 1, SENT % 2, VERIFIED % 1, VERIFIED % 2]
    assert arrived(valkey) == ["1", "2", "3"]
    assert noted(valkey) == [True, True, False]


def test_many(reporter: Reporter, valkey: redis.Redis) -> None:
    """A mixed list is written account by account, in order, in as many writes as without."""
    events = [
        event
        for number in range(300)
        for event in (dispatch(number), verification(number), dispatch(number, "alibaba"))
    ]
    receipts = reporter.report_many(iter([*events, unverified(300)]))
    assert (receipts.queued, receipts.spooled, receipts.dropped) == (901, 0, 0)
    both = [line for number in range(300) for line in (SENT % number, VERIFIED % number)]
    assert notices(valkey) == both
    assert notices(valkey, "alibaba") == [SENT % number for number in range(300)]
    assert arrived(valkey) == [str(number) for number in range(301)]
    assert noted(valkey) == [True] * 300 + [False]


def test_one_write(reporter: Reporter, valkey: redis.Redis) -> None:
    """A report and its notice go out together: no round trip more."""
    commands: dict[str, Any]
    reporter.report(verification(0))
    before = int(admin(valkey).info("stats")["total_reads_processed"])
    for number in range(20):
        reporter.report(verification(number))
    commands = admin(valkey).info("stats")
    assert int(commands["total_reads_processed"]) - before <= 20 + 1  # and what asks


async def test_without_tracking(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> None:
    """It is off unless switched on: then nothing else is written, and a Dispatch is refused with the switch's name."""
    with Reporter(shared_valkey.url, spool=False, timeout=PATIENCE) as reporter:
        reporter.report(verification(1))
        reporter.report_many([verification(2)])
        with pytest.raises(ValueError, match="tracking=True"):
            reporter.report(dispatch())
        with pytest.raises(ValueError, match="tracking=True"):
            reporter.report_many([verification(3), dispatch()])
        with pytest.raises(ValueError, match="tracking=True"):
            await reporter.areport(dispatch())
    assert noted(valkey) == [False, False]
    assert admin(valkey).keys() == [b"otpreport.tencent"]
    with pytest.raises(ValueError, match=r"^tracking must be True or False, not 'no'$"):
        Reporter(shared_valkey.url, tracking="no")  # type: ignore[arg-type]  # that is the test


async def test_what_it_refuses(reporter: Reporter, valkey: redis.Redis) -> None:
    """A misspelt account, and what was made invalid, raise ValueError before anything is written."""
    with pytest.raises(ValueError, match="did you mean tencent"):
        reporter.report(dispatch(1, "tencnet"))
    for wrong in ({"message_id": "\ud800"}, {"expires_in": 7}, {"country": "Singapore"}, {"sent_at": None}):
        made = dispatch().model_copy(update=wrong)
        with pytest.raises(ValueError, match="not a valid event"):
            reporter.report(made)
        with pytest.raises(ValueError, match="not a valid event"):
            await reporter.areport(made)
        with pytest.raises(ValueError, match="not a valid event"):
            reporter.report_many([verification(1), made])
    with pytest.raises(ValueError, match="not a valid event"):
        reporter.report(Dispatch.model_construct(account="tencent"))
    assert admin(valkey).keys() == []


def test_forked(reporter: Reporter, valkey: redis.Redis) -> None:
    """A forked child writes notices over its own connection."""
    reporter.report(dispatch(1))
    if (child := os.fork()) == 0:
        queued = reporter.report(dispatch(2)).status == reporter.report(verification(2)).status == "queued"
        os._exit(0 if queued else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert notices(valkey) == [SENT % 1, SENT % 2, VERIFIED % 2]


def test_spooled(tmp_path: Path, away: EmbeddedValkey) -> None:
    """What Redis did not take waits on disk, notices as reports, and arrives in order."""
    path = tmp_path / "spool.sqlite3"
    with Reporter(away.url, spool=path, timeout=PATIENCE, tracking=True) as reporter:
        assert reporter.report(dispatch(0)).status == "spooled"
        assert reporter.report(verification(0)).status == "spooled"
        both = [event for number in range(1, 300) for event in (dispatch(number), verification(number))]
        assert reporter.report_many(both).spooled == 598
        assert waiting(path) == 900
        away.start()
        with admin(away.port) as client:
            until(lambda: len(notices(client)) == 600 and len(arrived(client)) == 300)
            assert arrived(client) == [str(number) for number in range(300)]
            assert notices(client) == [line % number for number in range(300) for line in (SENT, VERIFIED)]
        assert reporter.dropped == 0


def test_full_redis(tmp_path: Path, valkey_server: EmbeddedValkey) -> None:
    """A full Redis takes notices when there is room again."""
    with (
        Reporter(valkey_server.url, spool=tmp_path / "spool", timeout=PATIENCE, tracking=True) as reporter,
        admin(valkey_server.port) as server,
    ):
        server.config_set("maxmemory", "1")
        assert {reporter.report(event).status for event in (dispatch(1), verification(1))} == {"spooled"}
        server.config_set("maxmemory", "0")
        until(lambda: len(notices(server)) == 2)
        assert notices(server) == [SENT % 1, VERIFIED % 1]
        assert arrived(server) == ["1"]


def test_a_notice_refused_is_no_report_refused(reporter: Reporter, valkey: redis.Redis) -> None:
    """Where only the notices can't be written, the reports are, and `dropped` says how many notices were not."""
    valkey.set("otpreport.tencent.otps", "no list")
    assert reporter.report(verification(1)) == Receipt("queued")
    assert reporter.dropped == 1
    receipts = reporter.report_many([verification(2), unverified(3), dispatch(4)])
    assert (receipts.queued, receipts.dropped, receipts.dropped_events) == (2, 1, (dispatch(4),))
    assert reporter.dropped == 3
    assert reporter.report(dispatch(5)).status == "dropped"
    assert reporter.dropped == 4
    assert arrived(valkey) == ["1", "2", "3"]


def test_an_event_dropped_whole_counts_once(away: EmbeddedValkey) -> None:
    """Where neither a report nor its notice was taken, one event was dropped."""
    with Reporter(away.url, spool=False, timeout=PATIENCE, tracking=True) as reporter:
        assert reporter.report(verification(1)).status == "dropped"
        assert reporter.dropped == 1
        assert reporter.report_many([verification(2), dispatch(3), unverified(4)]).dropped == 3
        assert reporter.dropped == 4


def test_notices_take_no_report_s_place(tmp_path: Path, away: EmbeddedValkey) -> None:
    """Of a spool for ten, ten reports find room, however many notices came before them."""
    with Reporter(
        away.url, spool=tmp_path / "spool", timeout=PATIENCE, spool_limit=10, tracking=True
    ) as reporter:
        assert [reporter.report(dispatch(number)).status for number in range(11)] == ["spooled"] * 10 + [
            "dropped"
        ]
        assert [reporter.report(verification(number)).status for number in range(10)] == ["spooled"] * 10
        assert reporter.dropped == 11, "the eleventh dispatch, and the notices of ten reports"
        assert reporter.report(verification(10)).status == "dropped"
