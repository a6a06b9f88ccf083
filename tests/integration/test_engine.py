import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError

from otpreport import Verification
from providers import Answer, Outcome, Result, SignedRequest
from tasks import report
from tasks.delivery import Delivery, Held, Leased
from tasks.history import History
from tasks.limiter import admission
from tasks.limiter.admission import HORIZON, TOLERANCE, RateGroup
from tasks.queue.queue import Batch, Queue
from tasks.report import InDoubt, NotSent, Report
from tasks.retry import Policy
from tasks.script import text_of
from tasks.settlement import Schedule, Settlement
from tasks.wall import WallClock
from tests.support.engine_worker import QUICK, EngineWorker, Network, Reply
from tests.support.leased import NOW_MS, event, message
from tests.support.queues import SHARE, Fleet, alter
from tests.support.report_twins import Provider
from tests.support.wait import coming
from worker import engine
from worker.connect import connect
from worker.embedded import EmbeddedValkey


def histories(fleet: Fleet, account: str = "tencent") -> list[History]:
    """Return what is stored of every event that has not ended."""
    records: list[bytes] = fleet.server.hvals(fleet.keys.taken(account))
    return [Leased.parse(account, "", record).history for record in records]


def letters(fleet: Fleet, account: str = "tencent") -> list[dict[str, Any]]:
    """Return the stories of all dead letters."""
    stored: list[bytes] = fleet.server.hvals(fleet.keys.dead(account))
    return [orjson.loads(letter.split(b"\n", 1)[0]) for letter in stored]


async def test_every_event_is_delivered_once(fleet: Fleet) -> None:
    """A worker leases, sends and settles all there is; each event reaches the provider once."""
    fleet.send_many(300)
    async with EngineWorker(fleet) as worker:
        await worker.ended(300)
    assert sorted(worker.network.ids) == sorted({f"tencent-{n}" for n in range(300)})
    assert fleet.books() == {"taken": 300, "delivered": 300}
    assert fleet.places().balanced
    assert fleet.server.hlen(fleet.keys.claims) == 0


async def test_a_failure_is_retried_through_redis(fleet: Fleet) -> None:
    """Failed attempts are kept with the event in Redis until one succeeds."""
    fleet.send(event("m"))
    network = Network({"m": [NotSent("refused"), InDoubt("timeout"), Result.TRANSIENT]})
    async with EngineWorker(fleet, network) as worker:
        await worker.ended(1)
    assert worker.monitor.endings == {"again": 3, "delivered": 1}
    assert network.ids == ["m"] * 4
    assert fleet.places().balanced


async def test_a_dead_letter_has_the_whole_story(fleet: Fleet) -> None:
    """An event that used up its attempts is a dead letter that names each of them."""
    fleet.send(event("m"))
    network = Network({"m": [InDoubt("EOF"), *[Result.TRANSIENT] * 3]})
    async with EngineWorker(fleet, network) as worker:
        await worker.ended(1)
    (letter,) = letters(fleet)
    assert (letter["reason"], letter["in_doubt"]) == ("exhausted", True)
    assert [attempt["class"] for attempt in letter["attempts"]] == ["unknown"] + ["transient"] * 3
    assert letter["event"]["message_id"] == "m"
    assert fleet.places().balanced


async def test_a_refused_event_is_dead_at_once(fleet: Fleet) -> None:
    """One permanent fault ends one event, and the others go on."""
    fleet.send(event("bad"), event("good"))
    async with EngineWorker(fleet, Network({"bad": [Result.PERMANENT]})) as worker:
        await worker.ended(2)
    assert worker.monitor.endings == {"permanent": 1, "delivered": 1}


async def test_bad_messages_are_dead_letters_with_their_bytes(fleet: Fleet) -> None:
    """What can't be read ends as a dead letter that holds it, and never spins."""
    bad = [b"\x00\xff not json", message(headers={"task": "other"}), message(args=[1])]
    for raw in bad:
        fleet.server.lpush("otpreport.tencent", raw)
    async with EngineWorker(fleet) as worker:
        await worker.ended(3)
        assert worker.engine.holds == 0
    stored: list[bytes] = fleet.server.hvals(fleet.keys.dead("tencent"))
    assert sorted(letter.split(b"\n", 1)[1] for letter in stored) == sorted(bad)
    assert fleet.books()["taken"] == 3
    assert worker.network.sent == []


class Blind(WallClock):
    """A clock that looks at no other: the protection switched off."""

    def see_redis(self, now_us: int) -> None:
        """Look away."""


@pytest.mark.parametrize(("wall", "ending"), [(WallClock, "delivered"), (Blind, "expired")])
async def test_a_worker_whose_clock_is_ahead_buries_nothing(
    fleet: Fleet, wall: type[WallClock], ending: str
) -> None:
    """Of its own clock and Redis' the earlier one counts, for MAX_AGE and `expires`; the control looks at its own."""
    now = round(time.time() * 1000)
    fleet.send(event("fresh", at_ms=now))
    expires = event("expires", at_ms=now)
    soon = (expires.occurred_at + timedelta(minutes=5)).isoformat()
    fleet.server.lpush(
        fleet.keys.ready("tencent")[0], message({"event": expires.to_wire()}, headers={"expires": soon})
    )
    ahead = wall(lambda: time.time() + 90_000)
    async with EngineWorker(fleet, max_age=86_400.0, wall=ahead) as worker:
        await worker.ended(2)
    assert worker.monitor.endings == {ending: 2}


async def test_an_eta_waits_in_redis(fleet: Fleet) -> None:
    """A message with an `eta` waits in Redis, not in the worker, and uses no attempt."""
    moment = event(at_ms=round(time.time() * 1000) + 3_600_000).occurred_at.isoformat()
    fleet.server.lpush("otpreport.tencent", message(headers={"eta": moment}))
    async with EngineWorker(fleet) as worker:
        await worker.until(lambda: fleet.places().scheduled == 1 and worker.engine.holds == 0)
    assert histories(fleet) == [History()]


async def test_an_expired_retry_frees_its_message_id(fleet: Fleet) -> None:
    """When `expires` passes between two attempts, the dead letter keeps no claim on the message id."""
    moment = event(at_ms=round(time.time() * 1000) + 600).occurred_at.isoformat()
    fleet.server.lpush("otpreport.tencent", message(headers={"expires": moment}))
    network = Network({"1": [Result.TRANSIENT] * 1000})
    async with EngineWorker(fleet, network, policy=Policy(1000, 0.05, 0.1)) as worker:
        await worker.ended(1)
    assert worker.monitor.endings["expired"] == 1
    assert network.sent, "it was tried before"
    assert fleet.server.hlen(fleet.keys.claims) == 0


async def test_throttled_events_wait_and_use_no_attempt(fleet: Fleet) -> None:
    """However often the provider throttles, the event is delivered in the end, with a clean history."""
    fleet.send(event("m"))
    network = Network({"m": [Result.THROTTLED] * 10})
    async with EngineWorker(fleet, network, policy=Policy(max_attempts=1, throttled_delay=0.02)) as worker:
        await worker.ended(1)
    assert worker.monitor.endings == {"again": 10, "delivered": 1}
    assert float(fleet.server.hget(fleet.keys.rate("tencent"), "rate")) < 1000


async def test_an_account_fault_stops_the_account_until_a_probe_succeeds(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are wrong: the account stops at once, nothing is lost, another event probes, and all go on."""
    fleet.send(event("culprit"))
    network = Network({"culprit": [Result.ACCOUNT]})
    monkeypatch.setattr(report, "STOPPED_DELAY", 0.5)
    async with EngineWorker(fleet, network, probe_interval=2.0) as worker:
        await worker.until(lambda: fleet.state().get("state") == "stopped")
        fleet.send_many(50)
        await worker.until(lambda: worker.monitor.seen["tencent"].name == "refused")
        assert worker.monitor.seen["tencent"].code == "Code"
        await worker.until(lambda: len(network.sent) == 2)
        assert network.ids[1] != "culprit"
        await worker.ended(51)
        await worker.until(lambda: worker.monitor.seen["tencent"].name == "running")
    assert worker.monitor.endings == {"again": 1, "delivered": 51}
    assert letters(fleet) == []


async def test_a_failed_probe_keeps_the_account_stopped(fleet: Fleet) -> None:
    """While the fault lasts, one request an interval reaches the provider, and nothing is buried."""
    fleet.send_many(40)
    network = Network({f"tencent-{n}": [Result.ACCOUNT] * 9 for n in range(40)})
    async with EngineWorker(fleet, network, probe_interval=0.2, rates={"tencent": 20}) as worker:
        await worker.until(lambda: fleet.state().get("state") == "stopped" and worker.engine.holds == 0)
        sent = len(network.sent)
        await worker.until(lambda: len(network.sent) > sent)
        await worker.until(lambda: worker.engine.holds == 0)
        rounds = worker.monitor.rounds
        await worker.until(lambda: worker.monitor.rounds > rounds + 10)
        assert len(network.sent) == sent + 1, "the next probe comes after the interval of the lease"
    assert letters(fleet) == []
    assert fleet.places().balanced


async def test_an_account_that_stood_still_for_too_long_comes_back(fleet: Fleet) -> None:
    """All its events are older than `max_age`: the first probe asks the provider, the others are then buried."""
    fleet.send(*(event(n, at_ms=NOW_MS) for n in range(20)))
    fleet.set_state("stopped")
    async with EngineWorker(fleet, max_age=60.0) as worker:
        await worker.ended(20)
    assert worker.monitor.endings == {"delivered": 1, "expired": 19}
    assert "state" not in fleet.state()


async def test_an_account_that_hangs_does_not_starve_another(fleet: Fleet) -> None:
    """A provider that never answers fills two thirds of a worker; the other account's events go on."""
    assert await delivered_beside_a_hanging_account(fleet) == 100


async def test_without_shares_a_hanging_account_takes_everything(fleet: Fleet) -> None:
    """It is the share that leaves room: first come, first served starves the other account."""
    alter(fleet.queue(), "_lease_script", "queue/lease.lua", SHARE, "free")
    assert await delivered_beside_a_hanging_account(fleet) == 0


async def delivered_beside_a_hanging_account(fleet: Fleet) -> int:
    """Let one account fill what it may, then send 100 events of another; return how many are delivered."""
    fleet.send_many(200, "alibaba")
    network = Network(silent={"alibaba"})
    rates = {"alibaba": 10_000, "tencent": 10_000}
    async with EngineWorker(fleet, network, rates=rates, concurrency=30, queue=fleet.queue()) as worker:
        await worker.until(lambda: worker.engine.in_flight >= 20)
        rounds = worker.monitor.rounds
        await worker.until(lambda: worker.monitor.rounds > rounds + 5)
        fleet.send_many(100, "tencent")
        await worker.until(
            lambda: fleet.books("tencent")["delivered"] == 100 or worker.monitor.rounds > rounds + 100
        )
        delivered = fleet.books("tencent")["delivered"]
        await worker.stop(0.0)
    return delivered


@pytest.mark.parametrize("busy", ["account0", "account9"])
async def test_accounts_without_events_take_no_room(fleet: Fleet, busy: str) -> None:
    """Of sixteen accounts the one that has events gets them reported, whatever its name."""
    fleet.send_many(300, busy)
    rates = {f"account{number}": 10_000 for number in range(16)}
    async with EngineWorker(fleet, rates=rates, concurrency=100) as worker:
        await worker.ended(300)


class Unsettled(Queue):
    """A queue in which some accounts' events can't be settled; it knows the most that a lease brought of the others."""

    brought = 0

    async def settle(self, settlements: Any, *args: Any, **options: Any) -> list[bool | None]:
        """Settle what can be."""
        able = [ended for ended in settlements if "stuck" not in ended[0].account]
        flags = iter(await super().settle(able, *args, **options))
        return [None if "stuck" in delivery.account else next(flags) for delivery, _ in settlements]

    async def lease(self, *args: Any, **options: Any) -> Batch:
        """Lease."""
        batch = await super().lease(*args, **options)
        self.brought = max(self.brought, sum("stuck" not in leased.account for leased in batch.leased))
        return batch


@contextlib.asynccontextmanager
async def unsettled(
    fleet: Fleet, *accounts: str, held: int
) -> AsyncGenerator[tuple[EngineWorker, Unsettled]]:
    """Let a worker with a concurrency of 12 have reported what it may of accounts whose events can't be settled."""
    for account in accounts:
        fleet.send_many(12, account)
    queue = Unsettled(fleet.client, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered)
    rates = dict.fromkeys((*accounts, "tencent"), 10_000)
    async with EngineWorker(fleet, rates=rates, concurrency=12, queue=queue) as worker:
        await worker.until(lambda: worker.engine.holds == held and not worker.engine.in_flight)
        yield worker, queue
        await worker.kill()


async def test_what_waits_to_be_settled_takes_no_room(fleet: Fleet) -> None:
    """A worker that has reports to settle leases as many others as if there were none."""
    async with unsettled(fleet, "stuck", held=8) as (worker, queue):
        fleet.send_many(100, "tencent")
        await worker.ended(100)
    assert queue.brought > 12 - 8


async def test_what_can_not_be_settled_is_bounded(fleet: Fleet) -> None:
    """A worker holds twice its concurrency at most, so much memory and so much in doubt when it is killed."""
    async with unsettled(fleet, *(f"stuck{number}" for number in range(10)), held=24) as (worker, _):
        rounds = worker.monitor.rounds
        await worker.until(lambda: worker.monitor.rounds > rounds + 10)
        assert worker.engine.holds == 24


async def test_an_account_alone_has_all_of_the_concurrency_and_no_more(fleet: Fleet) -> None:
    """Alone it leaves no room to others; as many events wait for a slot, and no request too many is sent."""
    fleet.send_many(200)
    network = Network(silent={"tencent"})
    async with EngineWorker(fleet, network, rates={"tencent": 10_000}, concurrency=30) as worker:
        await worker.until(lambda: worker.engine.in_flight >= 30)
        rounds = worker.monitor.rounds
        await worker.until(lambda: worker.monitor.rounds > rounds + 20)
        assert worker.engine.in_flight == len(network.sent) == 30
        assert worker.engine.holds == 60
        await worker.stop(0.0)


class FirstBatch(Queue):
    """A queue that remembers how many events the first lease brought."""

    brought = 0

    async def lease(self, *args: Any, **options: Any) -> Batch:
        """Lease."""
        batch = await super().lease(*args, **options)
        self.brought = self.brought or len(batch.leased)
        return batch


class Apart(FirstBatch):
    """One that is not told which accounts share a rate."""

    async def lease(self, *args: Any, **options: Any) -> Batch:
        """Lease for each account by itself."""
        return await super().lease(*args, **options | {"groups": {}})


@pytest.mark.parametrize(("kind", "brought"), [(FirstBatch, 10), (Apart, 20)])
async def test_accounts_of_one_rate_group_lease_together(
    fleet: Fleet, kind: type[FirstBatch], brought: int
) -> None:
    """Of both together a worker takes what their rate can send in 0.1 s; else each would take so much."""
    group = RateGroup("g", 100)
    for account in ("a", "b"):
        fleet.send_many(50, account)
    queue = kind(fleet.client, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered)
    async with EngineWorker(fleet, queue=queue, groups={"a": group, "b": group}) as worker:
        await worker.until(lambda: queue.brought)
    assert queue.brought == brought


async def test_what_comes_free_goes_to_each_account_in_turn(fleet: Fleet) -> None:
    """Accounts that all have a backlog get about the same of a worker too small for one of them."""
    assert min(await delivered_by_a_small_worker(fleet)) > 10


async def test_in_a_fixed_order_the_last_account_gets_nothing(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the turn that matters: a worker that always begins with the same account serves that one alone."""

    def first(number: int) -> int:
        """Begin with the first."""
        return 0 * number

    monkeypatch.setattr("worker.engine.random.randrange", first)
    assert min(await delivered_by_a_small_worker(fleet)) == 0


async def delivered_by_a_small_worker(fleet: Fleet) -> list[int]:
    """Send a hundred reports, one at a time, with three accounts' backlogs; return how many each got."""
    rates = {"a": 10_000, "b": 10_000, "c": 10_000}
    for account in rates:
        fleet.send_many(200, account)
    async with EngineWorker(fleet, rates=rates, concurrency=1) as worker:
        await worker.ended(100)
    return [fleet.books(account)["delivered"] for account in rates]


async def test_a_worker_holds_no_more_than_it_can_use(fleet: Fleet) -> None:
    """A million events wait in Redis: the worker has only those for which there will be a slot soon."""
    fleet.send_many(1000)
    async with EngineWorker(fleet, rates={"tencent": 50}) as worker:
        most = 0
        rounds = worker.monitor.rounds
        while worker.monitor.rounds < rounds + 20:
            most = max(most, worker.engine.holds)
            await asyncio.sleep(0.005)
    assert 0 < most <= 15


async def test_stop_hands_back_what_waits_for_a_slot(fleet: Fleet) -> None:
    """Events that were leased and not sent are another worker's at once, unchanged."""
    fleet.send_many(10)
    async with EngineWorker(fleet, rates={"tencent": 1}) as worker:
        await worker.until(lambda: worker.engine.holds >= 2)
        await worker.stop(10.0)
    places = fleet.places()
    assert places.balanced
    assert places.held == 0
    assert places.scheduled >= 1
    assert histories(fleet) == [History()] * places.scheduled
    assert fleet.server.zcard(fleet.keys.workers) == 0


async def test_stop_waits_for_the_answers(fleet: Fleet) -> None:
    """What is in flight when the end comes is finished within the grace, long after the last slot has passed."""
    fleet.send_many(5)
    released = asyncio.Event()

    class Slow(Network):
        async def send(self, request: Any, send_by: float, /) -> Answer:
            await released.wait()
            return await super().send(request, send_by)

    async with EngineWorker(fleet, Slow()) as worker:
        await worker.until(lambda: worker.engine.in_flight == 5)
        asyncio.get_running_loop().call_later(3 * (HORIZON + TOLERANCE), released.set)
        await worker.stop(30.0)
    assert fleet.books() == {"taken": 5, "delivered": 5}


async def test_a_worker_that_stops_uses_its_slots(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was given a slot when the end comes is sent: nobody else could use it."""
    assert await delivered_with_a_stop_amid_the_slots(fleet, monkeypatch) == 2


async def test_else_its_slots_would_be_lost(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the look at the slot that lets them go: handed back at once, their slots pass unused."""

    def is_sending(report: Report, delivery: Delivery) -> bool:
        del report
        return delivery.sending

    monkeypatch.setattr(Report, "may_go", is_sending)
    assert await delivered_with_a_stop_amid_the_slots(fleet, monkeypatch) < 2


async def delivered_with_a_stop_amid_the_slots(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> int:
    """Stop a worker when the first of two events was sent; return how many were delivered."""
    for module in (admission, engine):
        monkeypatch.setattr(module, "TOLERANCE", 10.0)  # this is not about a machine that stalls
        # so that the second has its slot long before the first one goes
        monkeypatch.setattr(module, "HORIZON", 0.5)
    fleet.send_many(2)
    async with EngineWorker(fleet, rates={"tencent": 5}) as worker:
        await worker.until(lambda: worker.network.sent)
        await worker.stop(20.0)
    assert fleet.places().held == 0
    assert fleet.places().balanced
    return fleet.books()["delivered"]


async def test_what_outlasts_the_grace_is_in_doubt(fleet: Fleet) -> None:
    """A request without an answer at the end goes back in doubt; the next worker sends it again."""
    fleet.send(event("m"))
    network = Network(silent={"tencent"})
    async with EngineWorker(fleet, network) as worker:
        await worker.until(lambda: worker.engine.in_flight == 1)
        await worker.stop(0.1)
    (history,) = histories(fleet)
    assert history.in_doubt
    assert [attempt.code for attempt in history.attempts] == ["shutdown"]
    async with EngineWorker(fleet, worker="w2") as other:
        await other.ended(1)
    assert fleet.books()["delivered"] == 1


async def test_stop_is_quick_when_nothing_has_begun(fleet: Fleet) -> None:
    """Reports that are cancelled before their first step don't make the worker wait out its grace."""
    fleet.send_many(5)
    arrived: list[Delivery] = []
    async with EngineWorker(fleet, hand_over=arrived.extend) as worker:
        await worker.until(lambda: len(arrived) == 5)
        async with asyncio.timeout(15):
            worker.engine.start(arrived)
            await worker.engine.stop(60.0)
        await worker.kill()
    assert worker.network.sent == []
    assert fleet.places().scheduled == 5


async def test_what_nobody_consumes_is_handed_back(fleet: Fleet) -> None:
    """Events on their way to a consumer that no longer listens go back at the end, and only once."""
    fleet.send_many(5)
    arrived: list[Delivery] = []
    async with EngineWorker(fleet, hand_over=arrived.extend) as worker:
        await worker.until(lambda: len(arrived) == 5)
        worker.engine.give_back(arrived[0])
        worker.engine.give_back(arrived[0])
        await worker.stop(5.0)
        worker.engine.start(arrived)
        worker.engine.give_back(arrived[1])
    assert worker.monitor.lost_tags == []
    assert worker.network.sent == []
    places = fleet.places()
    assert (places.scheduled, places.held) == (5, 0)


async def test_what_comes_during_the_stop_is_not_begun(fleet: Fleet) -> None:
    """A consumer that hands over while the worker stops finds it closed; the events go back."""
    fleet.send_many(4)
    arrived: list[Delivery] = []
    released = asyncio.Event()

    class Slow(Network):
        async def send(self, request: Any, send_by: float, /) -> Answer:
            await released.wait()
            return await super().send(request, send_by)

    async with EngineWorker(fleet, Slow(), hand_over=arrived.extend) as worker:
        await worker.until(lambda: len(arrived) == 4)
        worker.engine.start(arrived[:1])
        await worker.until(lambda: worker.engine.in_flight)
        after_the_slots = 2 * (HORIZON + TOLERANCE)
        loop = asyncio.get_running_loop()
        loop.call_later(after_the_slots, worker.engine.start, arrived[1:])
        loop.call_later(2 * after_the_slots, released.set)
        await worker.stop(30.0)
    assert len(worker.network.sent) == 1
    assert fleet.places().scheduled == 3


async def test_a_fault_of_ours_is_told_and_tried_again(fleet: Fleet) -> None:
    """A provider file with a bug loses no event: it is retried and then a dead letter."""

    class Buggy(Provider):
        def outcome(self, answer: Answer, event: Verification) -> Outcome:
            raise ZeroDivisionError(answer, event)

    fleet.send(event("m"))
    async with EngineWorker(fleet, provider=Buggy) as worker:
        await worker.ended(1)
    assert len(worker.monitor.failures) == QUICK.max_attempts
    (letter,) = letters(fleet)
    assert (letter["reason"], letter["code"], letter["in_doubt"]) == ("exhausted", "internal_error", True)


async def test_a_fault_that_nothing_can_be_said_of_harms_no_other_event(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where even the handling of a fault raises, that event is tried again later, and the others go on."""
    monkeypatch.setattr("worker.engine.STUCK", 0.01)

    class Buggy(Provider):
        def outcome(self, answer: Answer, event: Verification) -> Outcome:
            if event.message_id == "bad" and not mended:
                raise ZeroDivisionError
            return super().outcome(answer, event)

    def fail(delivery: Delivery, error: Exception) -> None:
        raise ZeroDivisionError(delivery, error)

    mended: list[str] = []
    for name in ("m1", "bad", "m2"):
        fleet.send(event(name))
    async with EngineWorker(fleet, provider=Buggy) as worker:
        monkeypatch.setattr(worker.monitor, "failed", fail)
        await worker.ended(2)
        mended.append("yes")
        await worker.ended(3)
    assert worker.monitor.endings["delivered"] == 3


async def test_what_waits_for_its_slot_at_the_end_is_not_sent_after_it(fleet: Fleet) -> None:
    """It is another worker's by then, which would send it, too."""
    fleet.send_many(400)
    async with EngineWorker(fleet, rates={"tencent": 400}) as worker:
        await worker.until(lambda: worker.network.sent)
        await worker.engine.stop(0.0)
        sent = len(worker.network.sent)
        await asyncio.sleep(0.3)
        assert len(worker.network.sent) == sent < 400


async def test_an_engine_that_fails_can_be_stopped(fleet: Fleet) -> None:
    """When the engine itself raises, its end is not waited for in vain."""
    async with EngineWorker(fleet) as worker:
        worker.engine.serve(["no such account"])
        with pytest.raises(KeyError):
            await worker.until(lambda: False)
        await worker.stop(0.0)


async def test_a_dead_workers_events_are_reported_by_another(short_lived: Fleet) -> None:
    """Killed without a word, a worker leaves its events to the others."""
    fleet = short_lived
    fleet.lease = 1.0
    fleet.send_many(20)
    dying = EngineWorker(fleet, Network(silent={"tencent"}), worker="w1")
    async with dying:
        await dying.until(lambda: dying.engine.in_flight == 20)
        await dying.kill()
    async with EngineWorker(fleet, worker="w2") as other:
        await other.ended(20)
    assert other.monitor.taken_back == 20
    assert fleet.books() == {"taken": 20, "delivered": 20}
    assert fleet.places().balanced


async def test_a_lease_lost_and_won_again_is_one_delivery(fleet: Fleet) -> None:
    """A worker that stood still, lost an event and leases it anew goes on with the one delivery it has of it."""
    fleet.send(event("m"))
    network = Network(silent={"m"})
    async with EngineWorker(fleet, network) as worker:
        await worker.until(lambda: network.ids == ["m"])
        (tag,) = fleet.server.smembers(fleet.keys.held("w1"))
        with fleet.server.pipeline(transaction=True) as taken_back:
            taken_back.srem(fleet.keys.held("w1"), tag)
            taken_back.zadd(fleet.keys.scheduled("tencent"), {tag: 0})
            taken_back.execute()
        await worker.until(lambda: fleet.places().held == 1)
        rounds = worker.monitor.rounds
        await worker.until(lambda: worker.monitor.rounds > rounds + 5)
        assert network.ids == ["m"]
        await worker.stop(0.0)
    assert fleet.places().balanced
    assert fleet.places().scheduled == 1


async def test_a_lost_lease_is_not_settled(fleet: Fleet) -> None:
    """An event that another worker took over while its request was under way moves no more by this one's hand."""
    fleet.send(event("m"))
    released = asyncio.Event()

    class Slow(Network):
        async def send(self, request: Any, send_by: float, /) -> Answer:
            await released.wait()
            return await super().send(request, send_by)

    async with EngineWorker(fleet, Slow()) as worker:
        await worker.until(lambda: worker.engine.in_flight == 1)
        (tag,) = fleet.held()["w1"]
        fleet.server.smove(fleet.keys.held("w1"), fleet.keys.held("w2"), tag)
        released.set()
        await worker.until(lambda: worker.monitor.lost_tags)
        assert worker.monitor.lost_tags == [tag]
    assert fleet.held() == {"w2": {tag}}
    assert fleet.books() == {"taken": 1}
    # and yet, what the provider took is known: the other worker will not send it again
    fleet.server.zadd(fleet.keys.workers, {"w2": 1})
    async with EngineWorker(fleet, worker="w3") as other:
        fleet.server.smove(fleet.keys.held("w2"), fleet.keys.held("w3"), tag)
        await other.ended(1)
    assert other.monitor.endings["duplicate"] == 1
    assert other.network.sent == []


class LossyRedis(Redis):
    """A client that loses the answers of one script: Redis acts, the caller hears nothing."""

    lost_script = ""
    losses = 0

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send the command; lose its answer if it is the script's."""
        client: Any = super()
        reply: object = await client.execute_command(*args, **options)
        if self.losses and args[0] in {"EVALSHA", "EVAL"} and args[1] in self._lost():
            self.losses -= 1
            raise RedisConnectionError("the answer was lost")
        return reply

    def _lost(self) -> tuple[str, str]:
        text = text_of(self.lost_script)
        return hashlib.sha1(text.encode()).hexdigest(), text


@pytest.fixture
async def lossy(shared_valkey: EmbeddedValkey, fleet: Fleet) -> AsyncIterator[LossyRedis]:
    """Yield a client that can lose answers; the fleet uses it."""
    client = LossyRedis(host="127.0.0.1", port=shared_valkey.port)
    fleet.client = client
    yield client
    await client.aclose()


async def test_events_of_a_lost_lease_answer_are_given_back(fleet: Fleet, lossy: LossyRedis) -> None:
    """Events that Redis leased to a worker which never heard of it are reported long before the lease ends."""
    fleet.send_many(20)
    lossy.lost_script, lossy.losses = "queue/lease.lua", 1
    async with EngineWorker(fleet) as worker:
        await worker.ended(20, deadline=fleet.lease / 2)
    assert len(worker.monitor.redis_errors) == 1
    assert fleet.books() == {"taken": 20, "delivered": 20}
    assert sorted(worker.network.ids) == sorted({f"tencent-{n}" for n in range(20)})


async def test_a_lease_that_redis_knows_of_alone_is_given_back(fleet: Fleet) -> None:
    """A call without an answer may reach Redis late, after the look for what it leased: the next lease tells."""
    fleet.send_many(20)
    await fleet.new_queue("w1").lease({"tencent": 20})
    async with EngineWorker(fleet) as worker:
        await worker.ended(20, deadline=fleet.lease / 2)
    assert not worker.monitor.redis_errors
    assert fleet.books() == {"taken": 20, "delivered": 20}


async def test_without_the_look_at_held_they_would_be_stuck(fleet: Fleet, lossy: LossyRedis) -> None:
    """It is the look into Redis' own books that finds them: a worker that never looks keeps them for ever."""

    class Blind(Queue):
        async def held(self) -> set[str]:
            return set()

    fleet.send_many(20)
    lossy.lost_script, lossy.losses = "queue/lease.lua", 1
    queue = Blind(lossy, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered)
    async with EngineWorker(fleet, queue=queue) as worker:
        await worker.until(lambda: worker.monitor.rounds > 12)
    assert worker.network.sent == []
    assert fleet.places().held == 20


async def test_a_lost_settle_answer_counts_once(fleet: Fleet, lossy: LossyRedis) -> None:
    """A settle call whose answer is lost is sent again as it was, and its events count once."""
    fleet.send_many(20)
    network = Network({"tencent-3": [Result.TRANSIENT], "tencent-4": [Result.PERMANENT]})
    lossy.lost_script, lossy.losses = "queue/settle.lua", 3
    async with EngineWorker(fleet, network) as worker:
        await worker.ended(20)
    assert len(worker.monitor.redis_errors) == 3
    assert (worker.monitor.endings["delivered"], worker.monitor.endings["permanent"]) == (19, 1)
    assert worker.monitor.endings["again"] in {1, 2}, (
        "a retry that comes before its answer is handed back unread"
    )
    assert worker.monitor.lost_tags == []
    assert len(worker.network.sent) == 21
    assert fleet.books() == {"taken": 20, "delivered": 19}
    assert fleet.places().dead == 1


class FarQueue(Queue):
    """A queue in a Redis so far away that events end while a call is under way; it writes its calls down."""

    written = ""

    async def lease(self, *args: Any, **options: Any) -> Batch:
        """Lease, later."""
        self.written += "l"
        await asyncio.sleep(0.01)
        return await super().lease(*args, **options)

    async def settle(self, *args: Any, **options: Any) -> list[bool | None]:
        """Settle, later."""
        self.written += "s"
        await asyncio.sleep(0.01)
        return await super().settle(*args, **options)


async def test_a_far_redis_is_asked_for_work_once_a_round(fleet: Fleet) -> None:
    """However many events end while a settle call is under way, the next call is for new ones."""
    fleet.send_many(500)
    queue = FarQueue(fleet.client, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered)
    async with EngineWorker(fleet, queue=queue) as worker:
        await worker.ended(500)
    assert queue.written.count("s") > 3
    assert "ss" not in queue.written


class Overlapping(FarQueue):
    """A far queue that writes down when a call ends, too."""

    written = ""

    async def settle(self, *args: Any, **options: Any) -> list[bool | None]:
        """Settle, later."""
        flags = await super().settle(*args, **options)
        self.written += "S"
        return flags


async def test_a_round_settles_and_leases_together(fleet: Fleet) -> None:
    """The call for new events is written before the settle call has its answer: both take one round trip."""
    fleet.send_many(500)
    queue = Overlapping(fleet.client, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered)
    async with EngineWorker(fleet, queue=queue) as worker:
        await worker.ended(500)
    assert queue.written.count("slS") > 3
    assert "sS" not in queue.written.rstrip("sS")  # the last settle call, at the stop, is alone


class LateAnswers(Queue):
    """A queue whose settle calls act at once and answer later, and whose retries are due at once."""

    async def settle(
        self, settlements: Sequence[tuple[Held, Settlement]], *args: Any, **options: Any
    ) -> list[bool | None]:
        """Settle, and answer later."""
        at_once = [
            (one, replace(end, delay=0.0) if isinstance(end, Schedule) else end) for one, end in settlements
        ]
        flags = await super().settle(at_once, *args, **options)
        await asyncio.sleep(0.05)
        return flags


async def test_what_comes_again_at_once_is_known(fleet: Fleet) -> None:
    """A retry that is leased before the answer to its settle call is there is tried, and not handed back."""
    fleet.send_many(10)
    network = Network({f"tencent-{n}": [Result.TRANSIENT] for n in range(10)})
    queue = LateAnswers(fleet.client, fleet.keys, "w1", lease=30.0, remembered=fleet.remembered)
    async with EngineWorker(fleet, network, queue=queue) as worker:
        await worker.ended(10)
    assert worker.monitor.endings == {"delivered": 10, "again": 10}


@pytest.mark.parametrize("script", ["queue/settle.lua", "queue/lease.lua"])
async def test_one_call_of_a_round_fails_and_the_other_counts(
    fleet: Fleet, lossy: LossyRedis, script: str
) -> None:
    """When one of the two loses its answer, what the other brought is kept: each event is sent once."""
    fleet.send_many(200)
    async with EngineWorker(fleet, rates={"tencent": 200}) as worker:
        await worker.ended(20)
        lossy.lost_script, lossy.losses = script, 3
        await worker.ended(200)
    assert len(worker.monitor.redis_errors) == 3
    assert sorted(worker.network.ids) == sorted(f"tencent-{n}" for n in range(200))
    assert fleet.books() == {"taken": 200, "delivered": 200}
    assert fleet.places().balanced


async def test_a_worker_to_which_little_comes_asks_less_often(fleet: Fleet) -> None:
    """With room for many, and few that come, it waits longer from call to call than one that is full."""
    fleet.send(*(event(f"waits-{n}") for n in range(10)))
    network = Network(silent={f"waits-{n}" for n in range(10)})
    ratios: list[float] = []
    while len(ratios) < 5 and max(ratios, default=0.0) < 1.25:  # on a busy machine the calls take longest
        full = await seconds_of_rounds(EngineWorker(fleet, network, worker=f"full-{ratios}", concurrency=1))
        calm = await seconds_of_rounds(EngineWorker(fleet, network, worker=f"calm-{ratios}"))
        ratios.append(calm / full)
    assert max(ratios) >= 1.25


async def test_a_worker_at_its_rate_asks_for_many_at_once(fleet: Fleet) -> None:
    """What holds it back is the rate and not its room, so a round may bring some tens of events."""
    fleet.send_many(1000)
    async with EngineWorker(fleet, rates={"tencent": 1000}, concurrency=400) as worker:
        await worker.ended(200)
        first = worker.monitor.rounds
        await worker.ended(1000)
        assert worker.monitor.rounds - first < 800 / 16


async def seconds_of_rounds(worker: EngineWorker) -> float:
    """Return how long 20 rounds of a worker take once it holds an event and has found its pace."""
    async with worker:
        await worker.until(lambda: worker.engine.in_flight and worker.monitor.rounds > 8)
        first, began = worker.monitor.rounds, time.monotonic()
        await worker.until(lambda: worker.monitor.rounds >= first + 20)
        took = time.monotonic() - began
        await worker.kill()
    return took


async def test_a_lost_admission_answer_sends_once(fleet: Fleet, lossy: LossyRedis) -> None:
    """Slots whose answer is lost are used by nobody; the events ask again and go once."""
    fleet.send_many(20)
    lossy.lost_script, lossy.losses = "limiter/admit.lua", 2
    async with EngineWorker(fleet) as worker:
        await worker.ended(20)
    assert sorted(worker.network.ids) == sorted({f"tencent-{n}" for n in range(20)})


async def test_lost_answers_at_the_end_leave_nothing_held(fleet: Fleet, lossy: LossyRedis) -> None:
    """Also while a worker stops, an answer may be lost: it still hands back everything."""
    fleet.send_many(10)
    async with EngineWorker(fleet, rates={"tencent": 1}) as worker:
        await worker.until(lambda: worker.engine.holds >= 2)
        lossy.lost_script, lossy.losses = "queue/settle.lua", 2
        await worker.stop(5.0)
    assert fleet.places().held == 0
    assert fleet.places().balanced


async def test_redis_away_and_back(valkey_server: EmbeddedValkey) -> None:
    """A Redis that is restarted in the middle of work costs nothing: what was leased is finished or found again."""
    async with on_its_own(valkey_server) as fleet:
        fleet.send_many(300)
        async with EngineWorker(fleet, rates={"tencent": 300}) as worker:
            await worker.ended(20)
            await asyncio.to_thread(valkey_server.kill)
            await worker.until(lambda: worker.monitor.redis_errors)
            await asyncio.to_thread(valkey_server.start)
            await worker.ended(300)
        assert fleet.books()["taken"] == 300
        assert fleet.books()["delivered"] + fleet.books()["duplicate"] == 300
        assert set(worker.network.ids) == {f"tencent-{n}" for n in range(300)}
        assert fleet.places().balanced


@contextlib.asynccontextmanager
async def on_its_own(server: EmbeddedValkey) -> AsyncGenerator[Fleet]:
    """Work on a server of the test's own."""
    client = connect(server.url)
    with redis.Redis(port=server.port) as onlooker:
        yield Fleet(client, onlooker)
    await client.aclose()


async def test_scripts_flushed_in_the_middle(fleet: Fleet) -> None:
    """`SCRIPT FLUSH` at any time stops nothing and loses nothing."""
    fleet.send_many(200)
    async with EngineWorker(fleet, rates={"tencent": 300}) as worker:
        while fleet.books()["delivered"] < 200:
            fleet.server.script_flush()
            await asyncio.sleep(0.02)
            assert not worker.monitor.redis_errors
    assert fleet.books() == {"taken": 200, "delivered": 200}


async def test_a_full_redis_drains(tmp_path: Path) -> None:
    """With Redis full nothing can be enqueued, but all that is there is reported, retried and buried."""
    async with full_redis(tmp_path) as (fleet, number):
        plan: dict[str, list[Reply]] = {f"tencent-{n}": [Result.TRANSIENT] for n in range(0, number, 3)}
        plan |= {f"tencent-{n}": [Result.PERMANENT] for n in range(1, number, 30)}
        plan["tencent-2"] = [Result.THROTTLED]
        network = Network(plan)
        async with EngineWorker(fleet, network, rates={"tencent": 20_000}) as worker:
            await worker.ended(number)
        assert worker.monitor.redis_errors == []
        assert fleet.places().finished + fleet.places().dead == number
        assert fleet.places().balanced


@pytest.mark.parametrize("script", ["queue/lease.lua", "queue/settle.lua", "queue/recover.lua"])
async def test_scripts_that_obey_the_memory_limit_do_not_drain(tmp_path: Path, script: str) -> None:
    """It is the flag in the first line: without it a full Redis refuses the script."""
    async with full_redis(tmp_path) as (fleet, _):
        queue = fleet.queue()
        name = Path(script).stem
        alter(queue, f"_{name}_script", script, "#!lua flags=allow-oom", "#!lua")
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "lease": lambda: queue.lease({"tencent": 1}),
            "settle": lambda: queue.settle([], queue.next_call()),
            "recover": lambda: queue.recover(["tencent"]),
        }
        with pytest.raises(OutOfMemoryError):
            await calls[name]()


@contextlib.asynccontextmanager
async def full_redis(folder: Path) -> AsyncGenerator[tuple[Fleet, int]]:
    """Fill a server with events until it refuses more; yield how many it has."""
    with EmbeddedValkey(folder / "full", options={"appendonly": "no"}) as server:
        async with on_its_own(server) as fleet:
            fleet.send_many(400)
            fleet.server.config_set("maxmemory", fleet.server.info("memory")["used_memory"] // 2)
            with pytest.raises(OutOfMemoryError):
                fleet.send_many(1)
            yield fleet, 400


async def test_suspects_are_sent_alone(fleet: Fleet) -> None:
    """While an event that two workers died with is under way, its worker holds nothing else."""
    company = await company_of_suspects(fleet, [])
    assert suspects_of(company) == [1] * 5
    assert list(company).index("suspect-0") < 200, "they waited until there was nothing else"


async def test_a_worker_that_forgets_its_suspect_takes_others_beside_it(fleet: Fleet) -> None:
    """It is the look at what is held: without it others are leased while the suspect is still under way."""
    assert max(suspects_of(await company_of_suspects(fleet, ["_holds_suspect"]))) > 1


def suspects_of(company: dict[str, int]) -> list[int]:
    """Return how many were held beside each suspect."""
    return [held for message_id, held in company.items() if message_id.startswith("suspect")]


async def company_of_suspects(fleet: Fleet, off: list[str]) -> dict[str, int]:
    """Return how many events the worker held at most while each was under way, in the order in which they were sent."""
    fleet.send(*(event(f"suspect-{n}") for n in range(5)))
    for delivery in await fleet.take(5, "dead"):
        fleet.server.hset(fleet.keys.taken("tencent"), delivery.tag, b"2 0 5\n\n" + delivery.leased.raw)
        fleet.server.srem(fleet.keys.held("dead"), delivery.tag)
        fleet.server.zadd(fleet.keys.suspects("tencent"), {delivery.tag: 1})
    fleet.send_many(200)
    most: dict[str, int] = {}

    class Watched(Network):
        async def send(self, request: Any, send_by: float, /) -> Answer:
            message_id = request.body.decode()
            for _ in range(30 if message_id.startswith("suspect") else 1):
                await asyncio.sleep(0.005)
                most[message_id] = max(most.get(message_id, 0), worker.engine.holds)
            return await super().send(request, send_by)

    worker = EngineWorker(fleet, Watched(), rates={"tencent": 200})
    for name in off:
        setattr(worker.engine, name, lambda: False)
    async with worker:
        await worker.ended(205)
    return most


async def test_a_slow_account_does_not_hold_up_a_suspect(fleet: Fleet) -> None:
    """A worker that is to be empty hands back what would wait long for a slot."""
    assert await rounds_until_a_suspect_is_sent(fleet) < 100


async def test_a_worker_that_waits_for_all_its_slots_is_never_empty(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the handing back: at one report a second a worker that leased for a thousand is not empty for minutes."""

    def keep(report: Report) -> None:
        """Let all wait on."""

    monkeypatch.setattr(Report, "cancel_waiting", keep)
    assert await rounds_until_a_suspect_is_sent(fleet) >= 100


async def rounds_until_a_suspect_is_sent(fleet: Fleet) -> int:
    """Return after how many rounds a suspect is sent, at most 100, beside an account whose rate was lowered."""
    fleet.server.hset(fleet.keys.rate("alibaba"), "override", 1)
    fleet.send_many(200, "alibaba")
    async with EngineWorker(fleet, rates={"alibaba": 1000, "tencent": 1000}) as worker:
        await worker.until(lambda: worker.engine.holds > 10)
        fleet.send(event("suspect"))
        (delivery,) = await fleet.take(1, "dead")
        fleet.server.hset(fleet.keys.taken("tencent"), delivery.tag, b"2 0 5\n\n" + delivery.leased.raw)
        fleet.server.srem(fleet.keys.held("dead"), delivery.tag)
        fleet.server.zadd(fleet.keys.suspects("tencent"), {delivery.tag: 1})
        before = worker.monitor.rounds
        await worker.until(lambda: "suspect" in worker.network.ids or worker.monitor.rounds >= before + 100)
        return worker.monitor.rounds - before


async def test_poison_is_a_dead_letter(fleet: Fleet) -> None:
    """An event that killed three workers while it was alone is buried unread."""
    fleet.send(event("poison"))
    (delivery,) = await fleet.take(1, "dead")
    fleet.server.hset(fleet.keys.taken("tencent"), delivery.tag, b"5 3 5\n\n" + delivery.leased.raw)
    fleet.server.srem(fleet.keys.held("dead"), delivery.tag)
    fleet.server.zadd(fleet.keys.suspects("tencent"), {delivery.tag: 1})
    async with EngineWorker(fleet) as worker:
        await worker.ended(1)
    (letter,) = letters(fleet)
    assert (letter["reason"], letter["deaths"], letter["event"]) == ("poison", 5, None)
    assert worker.network.sent == []


async def test_several_workers_share_the_work(fleet: Fleet) -> None:
    """Three workers on one queue deliver each event once, and all take part."""
    fleet.send_many(400)
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(EngineWorker(fleet, worker=f"w{n}", rates={"tencent": 400}))
            for n in range(3)
        ]
        await coming(lambda: fleet.books()["delivered"] == 400)
    ids = [message_id for worker in workers for message_id in worker.network.ids]
    assert sorted(ids) == sorted({f"tencent-{n}" for n in range(400)})
    assert all(worker.network.sent for worker in workers)


class NoWayOut(Network):
    """A machine that nothing leaves."""

    fixed = False

    async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
        """Fail as a look-up of a name does, until it is fixed."""
        if self.fixed:
            return await super().send(request, send_by)
        self.sent.append(("", request.body.decode(), time.monotonic()))
        self.on_send(request.body.decode())
        raise NotSent("ConnectError: no name")


async def test_a_worker_without_a_way_out_stops_nobody(fleet: Fleet) -> None:
    """It tries some, leaves the rest to the other worker, and tries one now and then; none uses an attempt."""
    bad, good = NoWayOut(), Network()
    fleet.send_many(20)
    async with EngineWorker(fleet, good, worker="good") as works:
        await works.ended(20)
        async with EngineWorker(fleet, bad, worker="bad", rates={"tencent": 200}) as fails:
            for _ in range(200):
                fleet.send_many(10)
                if fails.reach.is_aside("tencent"):
                    break
                await asyncio.sleep(0.02)
            assert fails.reach.is_aside("tencent")
            await fails.until(lambda: fails.monitor.left)
            assert not fails.engine.holds
            tried = len(bad.sent)
            fleet.send_many(500)
            await works.until(lambda: fleet.places().finished == fleet.sent)
            assert len(bad.sent) <= tried + 1
            assert works.monitor.seen["tencent"].name == "running"
            assert fleet.places().dead == 0


def reached_by_another(fleet: Fleet) -> None:
    """Note that another worker has just had an answer."""
    fleet.server.zadd(fleet.keys.reached("tencent"), {"another": fleet.now_us() // 1000})


async def test_what_waits_is_handed_back(fleet: Fleet) -> None:
    """Once it knows that it alone fails, a worker hands back what waits, here for a provider that asked for a pause.

    It may hold its next try, every few seconds.
    """
    reached_by_another(fleet)
    fleet.send_many(300)
    pause = {"pause_us": fleet.now_us() + 50_000_000}
    network = NoWayOut(on_send=lambda _: fleet.server.hset(fleet.keys.rate("tencent"), mapping=pause))
    async with EngineWorker(fleet, network, concurrency=400) as fails:
        await fails.until(lambda: fails.reach.is_aside("tencent") and fails.engine.holds <= 1)
        assert fails.monitor.endings["again"] > len(fails.network.sent)
        assert fleet.places().held <= 1


async def test_an_account_that_is_held_for_all_is_probed_by_all(fleet: Fleet) -> None:
    """When the breaker opens, who stood aside takes his turn again."""
    reached_by_another(fleet)
    fleet.send_many(300)
    async with EngineWorker(fleet, NoWayOut()) as fails:
        await fails.until(lambda: fails.reach.is_aside("tencent"))
        fleet.set_state("open")
        await fails.until(lambda: not fails.reach.is_aside("tencent"))


async def test_a_way_out_that_is_mended_is_found(fleet: Fleet) -> None:
    """One try has an answer, and the worker does its part again."""
    bad, good = NoWayOut(), Network()
    async with EngineWorker(fleet, good, worker="good"), EngineWorker(fleet, bad, worker="bad") as fails:
        while not fails.reach.is_aside("tencent"):
            fleet.send_many(10)
            await asyncio.sleep(0.02)
        bad.fixed = True
        for _, way in fails.reach.aside():
            way.next_try = 0.0
        while fails.reach.is_aside("tencent"):
            fleet.send_many(10)
            await asyncio.sleep(0.02)
        delivered = len(bad.sent)
        while len(bad.sent) < delivered + 10:
            fleet.send_many(10)
            await asyncio.sleep(0.02)


async def test_when_nothing_gets_out_of_any_worker_the_breaker_opens(fleet: Fleet) -> None:
    """All workers fail: their events wait, each was tried once or twice, and nobody is left aside."""
    fleet.send_many(3000)
    first = EngineWorker(fleet, NoWayOut(), worker="w1")
    second = EngineWorker(fleet, NoWayOut(), worker="w2")
    async with first, second:
        await first.until(lambda: fleet.state().get("state") == "open")
        await first.until(lambda: not first.monitor.left and not second.monitor.left)
        assert len(first.network.sent) + len(second.network.sent) < 500
    assert fleet.places().dead == 0
