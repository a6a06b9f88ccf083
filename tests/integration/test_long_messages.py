"""Messages longer than 64 KB: no worker gets one, Redis holds no more of them than it must, and none is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from providers import Answer, Result, SignedRequest
from tasks.dead_letters.filter import Filter
from tasks.dead_letters.store import BYTES, DeadLetters, ReplayPace
from tasks.keys import Keys
from tasks.queue.queue import Recovered
from tasks.retry import Reason
from tasks.shared import MAX_BYTES
from tests.support.engine_worker import EngineWorker, Network
from tests.support.leased import event, message
from tests.support.queues import Fleet, Places, alter
from tests.support.redis_servers import debians
from worker.connect import connect
from worker.embedded import EmbeddedValkey

MB = 1_000_000
LONG = b"x" * (MAX_BYTES + 1)


@pytest.fixture
def letters(fleet: Fleet) -> DeadLetters:
    """Return all dead letters there."""
    return DeadLetters(fleet.server, fleet.keys)


def peak_of(server: Any, before: int) -> int:
    """Return by how many bytes the server's memory rose above what it used."""
    return int(server.info("memory")["used_memory_peak"]) - before


def watched(server: Any) -> int:
    """Return what the server uses, and let its peak begin there."""
    server.config_resetstat()
    server.execute_command("MEMORY", "PURGE")
    return int(server.info("memory")["used_memory"])


async def test_a_long_message_is_a_dead_letter_at_once(fleet: Fleet, letters: DeadLetters) -> None:
    """Its first 64 KB are kept, its whole length is told, the books balance, and no worker has had it."""
    fleet.server.lpush(fleet.keys.ready("tencent")[0], LONG * 2)
    fleet.send(event("good"))
    batch = await fleet.queue().lease({"tencent": 10})
    assert [leased.raw == LONG for leased in batch.leased] == [False]
    ((leased, buried),) = batch.buried
    assert (leased.account, buried.reason) == ("tencent", Reason.INVALID)
    assert fleet.places() == Places(0, 2, 0, 1, 1, 0, 0, 1)
    (letter,) = letters.letters(Filter(), whole=True)
    assert (letter.id, letter.reason, letter.length, letter.cut) == (
        leased.tag,
        "invalid",
        len(LONG) * 2,
        True,
    )
    assert letter.raw == LONG[:MAX_BYTES]
    assert str(len(LONG) * 2) in letter.text("why")
    assert letters.find(leased.tag) == letter


async def test_the_longest_message_is_leased(fleet: Fleet) -> None:
    """64 KB are not too long."""
    fleet.server.lpush(fleet.keys.ready("tencent")[0], LONG[1:])
    assert [len(leased.raw) for leased in (await fleet.queue().lease({"tencent": 10})).leased] == [MAX_BYTES]


async def test_a_call_takes_a_bounded_number_of_bytes(fleet: Fleet) -> None:
    """It stops after 256 KB, says so, and the next one goes on; no tag comes twice."""
    for _ in range(20):
        fleet.server.lpush(fleet.keys.ready("tencent")[0], LONG, LONG[1:])
    tags: list[str] = []
    while (batch := await fleet.queue().lease({"tencent": 100})).more:
        assert len(batch.leased) + len(batch.buried) <= 4
        tags += [leased.tag for leased in batch.leased] + [leased.tag for leased, _ in batch.buried]
    assert len(set(tags)) == 40
    assert fleet.places().balanced


@pytest.mark.parametrize("kind", ["scheduled", "suspects"])
async def test_a_long_record_of_an_older_version(fleet: Fleet, letters: DeadLetters, kind: str) -> None:
    """It is buried when it would be leased again, with its story."""
    fleet.send(event("old"))
    (delivery,) = await fleet.take()
    history = b'{"attempts":[[1777000000000,"unknown","timeout","no answer","",10]],"replayed_ms":null,"doubted":false}'
    deaths = b"2 1" if kind == "suspects" else b"0 0"
    fleet.server.hset(fleet.keys.taken("tencent"), delivery.tag, deaths + b" 77\n" + history + b"\n" + LONG)
    fleet.server.srem(fleet.keys.held("w1"), delivery.tag)
    fleet.server.zadd(
        Keys().scheduled("tencent") if kind == "scheduled" else Keys().suspects("tencent"), {delivery.tag: 1}
    )
    batch = await fleet.queue().lease({"tencent": 10}, solo=kind == "suspects")
    assert batch.leased == []
    assert len(batch.buried) == 1
    (letter,) = letters.letters(Filter())
    assert (letter.in_doubt, letter.text("code"), letter.first_ms) == (True, "timeout", 77)
    assert [attempt["message"] for attempt in letter.attempts] == ["no answer"]
    assert fleet.places() == Places(0, 1, 0, 1, 0, 0, 0, 0)


async def test_a_long_letter_is_not_sent_again(fleet: Fleet, letters: DeadLetters) -> None:
    """Neither one that was cut, nor one that an older version kept whole, whoever asks."""
    fleet.server.lpush(fleet.keys.ready("tencent")[0], LONG)
    fleet.send_many(1)
    await fleet.queue().lease({"tencent": 10})
    (cut,) = letters.letters(Filter())
    fleet.server.hset(fleet.keys.dead("tencent"), "tencent:old:1", b'{"reason":"permanent"}\n' + LONG)
    fleet.server.zadd(fleet.keys.dead_index("tencent"), {"tencent:old:1": 5})
    pace = {"tencent": ReplayPace(1.0, "tencent", 1000)}
    assert list(letters.replay(letters.letters(Filter()), pace)) == []
    fleet.server.zadd(fleet.keys.replays("tencent"), {cut.id: cut.died_ms, "tencent:old:1": 5})
    fleet.server.hset(
        fleet.keys.replay("tencent"), mapping={"share": "1", "group": "tencent", "limit": "1000"}
    )
    assert (await fleet.queue().lease({"tencent": 10})).leased == []
    assert fleet.places().dead == 2
    assert fleet.server.zcard(fleet.keys.replays("tencent")) == 0


async def test_a_message_that_cannot_be_buried_waits(fleet: Fleet) -> None:
    """Where the dead letters are no hash the message is kept, and buried once they are."""
    fleet.server.lpush(fleet.keys.ready("tencent")[0], LONG)
    fleet.server.set(fleet.keys.dead("tencent"), "x")
    batch = await fleet.queue().lease({"tencent": 10})
    assert (batch.leased, list(batch.buried)) == ([], [])
    fleet.server.delete(fleet.keys.dead("tencent"))
    assert fleet.places() == Places(0, 1, 0, 0, 0, 1, 0, 1)
    fleet.server.zadd(
        fleet.keys.scheduled("tencent"), {fleet.server.zrange(fleet.keys.scheduled("tencent"), 0, 0)[0]: 1}
    )
    assert len((await fleet.queue().lease({"tencent": 10})).buried) == 1
    assert fleet.places() == Places(0, 1, 0, 1, 0, 0, 0, 0)


def test_pages_of_letters_are_bounded(fleet: Fleet, letters: DeadLetters) -> None:
    """However long letters are, one call brings a bounded number of bytes, and every letter is read once."""
    for n in range(120):
        fleet.server.hset(
            fleet.keys.dead("tencent"), f"tencent:old:{n}", b'{"reason":"permanent"}\n' + LONG[1:]
        )
        fleet.server.zadd(fleet.keys.dead_index("tencent"), {f"tencent:old:{n}": 5 + n // 30})
    fleet.server.config_resetstat()
    read = list(letters.letters(Filter(), whole=True))
    assert sorted(letter.id for letter in read) == sorted(f"tencent:old:{n}" for n in range(120))
    assert all(letter.raw == LONG[1:] for letter in read)
    sent = fleet.server.info("stats")["total_net_output_bytes"]
    calls = fleet.server.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert sent / calls < BYTES


@pytest.fixture(params=["valkey", "redis"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """Start a server whose memory is watched."""
    options = {"appendfsync": "no"}
    with (
        EmbeddedValkey(tmp_path, options=options)
        if request.param == "valkey"
        else debians(tmp_path) as server
    ):
        yield server


@pytest.mark.parametrize("bounded", [True, False], ids=["bounded", "all at once"])
async def test_redis_needs_little_beside_what_is_queued(own: EmbeddedValkey, *, bounded: bool) -> None:
    """40 messages of 1.5 MB cost some copies of one of them; taken at once and kept they cost several of each."""
    client = connect(own.url)
    with redis.Redis(port=own.port) as server:
        fleet = Fleet(client, server)
        for _ in range(40):
            fleet.server.lpush(fleet.keys.ready("tencent")[0], b"x" * (3 * MB // 2))
        before, queue = watched(server), fleet.queue()
        if not bounded:
            judged, budget = "if #raw > #header + MAX_BYTES then", "want and left > 0 do"
            alter(queue, "_lease_script", "queue/lease.lua", judged, "if false then", budget, "want do")
        while (await queue.lease({"tencent": 100})).more:
            pass
        over = peak_of(server, before)
    await client.aclose()
    assert (over < 20 * MB) == bounded, over


async def until_some(fleet: Fleet) -> Recovered:
    """Recover until a call takes something back."""
    while not (found := await fleet.queue("rescuer").recover(["tencent"])).taken_back:  # noqa: ASYNC110 - it asks Redis
        await asyncio.sleep(0.01)
    return found


async def test_long_messages_hold_nothing_up(fleet: Fleet) -> None:
    """A worker has the events behind a hundred long messages sent within seconds, and tells of each dead letter."""
    for _ in range(100):
        fleet.server.lpush(fleet.keys.ready("tencent")[0], LONG)
    fleet.send_many(20)
    async with EngineWorker(fleet) as worker:
        await worker.ended(120)
    assert worker.monitor.endings == {"delivered": 20, "invalid": 100}
    assert worker.monitor.rounds < 60
    assert fleet.places().balanced


async def test_recovery_is_bounded_in_bytes(short_lived: Fleet) -> None:
    """What a dead worker held comes back in portions, however long its records are."""
    fleet = short_lived
    for _ in range(40):
        fleet.server.lpush(fleet.keys.ready("tencent")[0], LONG[1:])
    while (await fleet.queue("dead").lease({"tencent": 100})).more:
        pass
    first = await until_some(fleet)
    assert first.more
    assert first.taken_back < 20
    async with EngineWorker(fleet) as worker:
        await worker.ended(40)
    assert fleet.places().balanced


class Gate(Network):
    """A provider that answers nobody until it is opened."""

    def __init__(self, number: int) -> None:
        super().__init__({str(n): [Result.TRANSIENT] for n in range(number)})
        self.opened = asyncio.Event()

    async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
        """Wait with the answer."""
        answer = await super().send(request, send_by)
        await self.opened.wait()
        return answer


async def test_a_settle_call_is_bounded_in_bytes(tmp_path: Path) -> None:
    """Sixty long records that end at once are settled in several calls (a server of its own remembers the peak)."""
    with EmbeddedValkey(tmp_path, options={"appendfsync": "no"}) as own, redis.Redis(port=own.port) as server:
        client = connect(own.url)
        fleet, provider = Fleet(client, server), Gate(60)
        for n in range(60):
            long = message({"event": event(str(n)).to_wire() | {"note": "y" * 45_000}})
            fleet.server.lpush(fleet.keys.ready("tencent")[0], long)
        async with EngineWorker(fleet, provider) as worker:
            await worker.until(lambda: len(provider.sent) == 60)
            before = watched(server)
            provider.opened.set()
            await worker.until(lambda: worker.monitor.endings["again"] == 60)
            over = peak_of(server, before)
        assert over < 4 * MB, over
        await client.aclose()
