import random
import time
from collections import Counter

import pytest

from otpreport.wire import PRIORITY_STEPS, encode
from tasks.dedupe import Remembered
from tasks.delivery import Delivery, Leased
from tasks.history import History
from tasks.queue import queue as module
from tasks.retry import Reason
from tasks.settlement import Bury, Ending, Finish, Schedule, Settlement, Track
from tests.support.leased import event
from tests.support.queues import Fleet, alter, ids

DONE = Finish(Ending.DELIVERED)
ENDS: list[Settlement] = [
    *(Finish(ending) for ending in Ending),
    Track(b"sent 1 600 ZZ m"),
    Schedule(0.0),
    Schedule(60.0),
    *(Bury(reason, b"{}\nraw") for reason in Reason),
]


async def test_a_lease_takes_from_every_priority_list(fleet: Fleet) -> None:
    """All four lists of kombu are read, the urgent one first, each in the order it was filled."""
    for step in reversed(range(len(PRIORITY_STEPS))):
        fleet.send(event(f"{step}a"), event(f"{step}b"), step=step)
    assert ids(await fleet.queue().lease({"tencent": 3})) == ["0a", "0b", "1a"]
    assert ids(await fleet.queue().lease({"tencent": 10})) == ["1b", "2a", "2b", "3a", "3b"]
    assert fleet.places().ready == 0


async def test_a_lease_takes_no_more_than_is_wanted(fleet: Fleet) -> None:
    """Each account gives what was asked of it; all of it is taken, held, and in the books."""
    fleet.send_many(5, "tencent")
    fleet.send_many(5, "alibaba")
    batch = await fleet.queue().lease({"tencent": 3, "alibaba": 0})
    assert [leased.account for leased in batch.leased] == ["tencent"] * 3
    assert batch.held == 3
    assert (fleet.places("tencent").taken, fleet.places("alibaba").taken) == (3, 0)
    assert fleet.places("tencent").balanced


async def test_a_leased_event_is_what_was_sent(fleet: Fleet) -> None:
    """The bytes come out as they went in, with the time of the first lease."""
    raw = encode(event(7), task_id="x")
    fleet.server.lpush("otpreport.tencent", raw)
    leased = (await fleet.queue().lease({"tencent": 1})).leased[0]
    seconds, _ = fleet.server.time()
    assert leased.raw == raw
    assert abs(leased.first_ms / 1000 - seconds) < 60
    assert (leased.deaths, leased.probe, leased.history) == (0, False, History())


async def test_no_tag_comes_twice(fleet: Fleet) -> None:
    """Every message gets an id of its own, also after leases that brought nothing."""
    fleet.send_many(30)
    tags: list[str] = []
    for want in (1, 5, 0, 5, 30):
        tags += [leased.tag for leased in (await fleet.queue().lease({"tencent": want})).leased]
    assert len(set(tags)) == 30


async def test_due_retries_and_new_events_share_a_lease(fleet: Fleet) -> None:
    """Half of a lease is for events that wait for another attempt, so that neither starves the other."""
    fleet.send_many(8)
    for delivery in await fleet.take(8):
        await fleet.settle(delivery, Schedule(0.0))
    fleet.send_many(8)
    batch = await fleet.queue().lease({"tencent": 8})
    taken_before = {f"tencent-{n}" for n in range(8)}
    assert sum(name in taken_before for name in ids(batch)) == 4
    assert len(batch.leased) == 8


async def test_retries_alone_fill_a_lease(fleet: Fleet) -> None:
    """Where nothing new waits, retries take the whole lease."""
    fleet.send_many(8)
    for delivery in await fleet.take(8):
        await fleet.settle(delivery, Schedule(0.0))
    assert len((await fleet.queue().lease({"tencent": 8})).leased) == 8


async def test_a_retry_comes_when_it_is_due(fleet: Fleet) -> None:
    """An event that waits for another attempt is not leased before its time."""
    fleet.send_many(2)
    soon, late = await fleet.take(2)
    await fleet.settle(soon, Schedule(0.0))
    await fleet.settle(late, Schedule(3600.0))
    assert [delivery.tag for delivery in await fleet.take(5)] == [soon.tag]


@pytest.mark.parametrize("settlement", ENDS, ids=repr)
async def test_each_settlement_leads_to_one_place(fleet: Fleet, settlement: Settlement) -> None:
    """However an event's lease ends, it is in exactly one place afterwards, and no longer held."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    assert await fleet.settle(delivery, settlement)
    places = fleet.places()
    assert places.balanced
    assert places.held == 0
    match settlement:
        case Finish(ending):
            assert fleet.books() == {"taken": 1, ending: 1}
        case Track(notice):
            assert fleet.books() == {"taken": 1, "tracked": 1}
            assert fleet.server.lrange(fleet.keys.notices("tencent"), 0, -1) == [notice]
        case Schedule():
            assert places.scheduled == 1
        case Bury(reason, letter):
            assert fleet.server.hget(fleet.keys.dead("tencent"), delivery.tag) == letter
            assert fleet.server.zcard(fleet.keys.dead_index("tencent")) == 1
            assert fleet.server.hgetall(fleet.keys.dead_reasons) == {f"tencent:{reason}".encode(): b"1"}


async def test_a_retry_keeps_its_new_record(fleet: Fleet) -> None:
    """What a retry stores is what the next lease reads; without a record the old one stays."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    await fleet.settle(delivery, Schedule(0.0, delivery.leased.record(History(replayed_ms=5))))
    for _ in range(2):
        (again,) = await fleet.take()
        assert again.leased.history == History(replayed_ms=5)
        assert again.leased.raw == delivery.leased.raw
        await fleet.settle(again, Schedule(0.0))


async def test_the_age_of_what_waits_is_known(fleet: Fleet) -> None:
    """While an event waits for another attempt, Redis knows when it occurred; when it ends, no more."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    await fleet.settle(delivery, Schedule(0.0))
    aged = fleet.keys.aged("tencent")
    assert fleet.server.zscore(aged, delivery.tag) == delivery.event.occurred_at_ms
    (again,) = await fleet.take()
    await fleet.settle(again, DONE)
    assert fleet.server.zcard(aged) == 0


async def test_the_same_call_acts_once(fleet: Fleet) -> None:
    """A settle call sent again because its answer was lost answers the same and moves nothing."""
    fleet.send_many(2)
    queue = fleet.queue()
    first, second = await fleet.take(2)
    call = queue.next_call()
    batch: list[tuple[Delivery, Settlement]] = [(first, Schedule(0.0)), (second, DONE)]
    assert await queue.settle(batch, call) == [True, True]
    (again,) = await fleet.take(2)
    assert await queue.settle(batch, call) == [True, True]
    assert (again.tag, fleet.places().held, fleet.books()["delivered"]) == (first.tag, 1, 1)


async def test_an_event_is_settled_once_in_a_call(fleet: Fleet) -> None:
    """The same event twice in one call is counted once, as in two calls."""
    fleet.send_many(2)
    queue = fleet.queue()
    first, second = await fleet.take(2)
    batch: list[tuple[Delivery, Settlement]] = [(first, DONE), (second, DONE), (first, Schedule(0.0))]
    assert await queue.settle(batch, queue.next_call()) == [True, True, False]
    assert (fleet.books()["delivered"], fleet.places().scheduled) == (2, 0)
    assert fleet.places().balanced


@pytest.mark.parametrize(
    "settlement", [DONE, Schedule(60.0, b"0 0 0\n\n{}"), Bury(Reason.EXPIRED, b"{}")], ids=repr
)
async def test_thousands_in_one_call(fleet: Fleet, settlement: Settlement) -> None:
    """More events than Lua hands over at once are settled in one call, each once."""
    many = 2001
    fleet.send_many(many)
    queue = fleet.queue()
    held: list[Delivery] = []
    while len(held) < many:  # a call takes so many bytes at most
        held += await fleet.take(many)
    claims = {delivery.fingerprint.claim: delivery.tag for delivery in held}
    fleet.server.hset(fleet.keys.claims, mapping=claims)
    assert (
        await queue.settle([(delivery, settlement) for delivery in held], queue.next_call()) == [True] * many
    )
    assert fleet.places().balanced
    assert fleet.places().held == 0
    assert fleet.server.hlen(fleet.keys.claims) == (many if isinstance(settlement, Schedule) else 0)


async def test_another_call_acts_again(fleet: Fleet) -> None:
    """It is the number of the call that protects: with a new one the event would be taken from its lease."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    await fleet.settle(delivery, Schedule(0.0))
    await fleet.take()
    assert await fleet.settle(delivery, Schedule(0.0))
    assert fleet.places().held == 0


async def test_a_call_that_arrives_late_does_nothing(fleet: Fleet) -> None:
    """A settle call that was given up, sent again, and reaches Redis after later calls, moves nothing."""
    fleet.send_many(2)
    queue = fleet.queue()
    first, second = await fleet.take(2)
    late = queue.next_call()
    await queue.settle([(first, Schedule(0.0))], late)
    await fleet.settle(second, DONE)
    await fleet.take()
    await queue.settle([(first, Schedule(0.0))], late)
    assert fleet.places().held == 1


async def test_without_the_order_of_calls_a_late_one_does_harm(fleet: Fleet) -> None:
    """The protection is the comparison of numbers: without it the late call ends a lease that is in use."""
    queue = fleet.queue()
    alter(queue, "_settle_script", "queue/settle.lua", "tonumber(last[1] or 0) > tonumber(call)", "false")
    fleet.send_many(2)
    first, second = await fleet.take(2)
    late = queue.next_call()
    await queue.settle([(first, Schedule(0.0))], late)
    await fleet.settle(second, DONE)
    await fleet.take()
    await queue.settle([(first, Schedule(0.0))], late)
    assert fleet.places().held == 0


@pytest.mark.parametrize("settlement", ENDS, ids=repr)
async def test_a_lost_lease_moves_nothing(fleet: Fleet, settlement: Settlement) -> None:
    """Who lost the lease is told so, and the event stays where its new holder has it."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    fleet.server.smove(fleet.keys.held("w1"), fleet.keys.held("w2"), delivery.tag)
    before = fleet.places()
    assert not await fleet.settle(delivery, settlement)
    assert fleet.places() == before
    assert fleet.held() == {"w2": {delivery.tag}}


async def test_what_was_delivered_is_remembered_without_a_lease(fleet: Fleet) -> None:
    """The provider has it: although the lease was lost, the fingerprint is kept."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    fleet.server.delete(fleet.keys.held("w1"))
    assert not await fleet.settle(delivery, DONE)
    (key,) = fleet.server.keys("otpreport:done:*")
    assert key.decode().endswith(f":{delivery.fingerprint.bucket}")
    assert fleet.server.sismember(key, delivery.fingerprint.member(verified=True))


async def test_the_delivered_are_forgotten_in_time(fleet: Fleet) -> None:
    """A set of delivered events lives for at least the time-to-live after its last member, and not for ever."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    await fleet.settle(delivery, DONE)
    (key,) = fleet.server.keys("otpreport:done:*")
    ttl, width = fleet.remembered.ttl, fleet.remembered.width
    assert ttl <= fleet.server.ttl(key) <= ttl + width + 1
    assert fleet.server.object("encoding", key) == b"intset"


@pytest.mark.parametrize("ttl", [1.0, 1.5, 5.0, 7.0, 86_400.0])
def test_the_generations_span_the_time_to_live(ttl: float) -> None:
    """Of the generations a look-up reads, those that are complete span the time-to-live."""
    remembered = Remembered(ttl)
    assert remembered.width * 2 >= ttl


async def test_a_finished_event_frees_its_message_id(fleet: Fleet) -> None:
    """The claim on a message id ends with its owner, and only with its owner."""
    fleet.send_many(3)
    owner, copy, buried = await fleet.take(3)
    claims = fleet.keys.claims
    fleet.server.hset(claims, mapping={owner.fingerprint.claim: owner.tag, copy.fingerprint.claim: owner.tag})
    fleet.server.hset(claims, buried.fingerprint.claim, buried.tag)
    for delivery, settlement in ((owner, DONE), (copy, DONE), (buried, Bury(Reason.EXPIRED, b""))):
        await fleet.settle(delivery, settlement)
    assert fleet.server.hgetall(claims) == {copy.fingerprint.claim.encode(): owner.tag.encode()}


async def test_every_key_has_the_prefix(fleet: Fleet) -> None:
    """In a Redis shared with others no script touches a key without the prefix, and keys.py knows them all."""
    theirs = Fleet(fleet.client, fleet.server, prefix="team-a:")
    await go_through_everything(theirs)
    found = theirs.all_keys()
    assert {key for key in found if not key.startswith("team-a:")} == set()
    keys = theirs.keys
    known = {keys.workers, keys.books, keys.maintenance, keys.claims, keys.dead_reasons}
    known |= {keys.held("w1"), keys.settled("w1"), *keys.ready("tencent"), keys.account("tencent")}
    known |= {
        keys.taken("tencent"),
        keys.scheduled("tencent"),
        keys.aged("tencent"),
        keys.suspects("tencent"),
    }
    known |= {keys.dead("tencent"), keys.dead_index("tencent"), keys.remembered}
    done = {key for key in found if key.startswith("team-a:otpreport:done:")}
    assert found - done == known
    assert len(done) == 1


async def test_a_forgotten_prefix_is_noticed(fleet: Fleet) -> None:
    """The look at all keys can fail: a script that forgets the prefix once is found out."""
    theirs = Fleet(fleet.client, fleet.server, prefix="team-a:")
    alter(
        theirs.queue(),
        "_settle_script",
        "queue/settle.lua",
        "prefix .. 'otpreport:' .. (kind",
        "'otpreport:' .. (kind",
    )
    await go_through_everything(theirs)
    assert [key for key in theirs.all_keys() if not key.startswith("team-a:")]


async def go_through_everything(fleet: Fleet) -> None:
    """Bring an event into every place there is."""
    for step in range(4):
        fleet.send(*(event(f"{step}-{n}") for n in range(8)), step=step)
    first, second, third, fourth, *_ = await fleet.take(20)
    await fleet.settle(first, DONE)
    await fleet.settle(second, Schedule(60.0, second.leased.record(History(replayed_ms=1))))
    await fleet.settle(third, Bury(Reason.PERMANENT, b"{}\n"))
    fleet.server.hset(fleet.keys.claims, fourth.fingerprint.claim, fourth.tag)
    fleet.server.smove(fleet.keys.held("w1"), fleet.keys.held("w2"), fourth.tag)
    fleet.server.hset(fleet.keys.taken("tencent"), fourth.tag, b"1 0 5\n\n" + fourth.leased.raw)
    fleet.server.zadd(fleet.keys.workers, {"w2": 1})
    fleet.server.hset(fleet.keys.maintenance, mapping={"heartbeat_ms": fleet.server.time()[0] * 1000})
    assert (await fleet.queue().recover(["tencent"])).taken_back == 1
    for step in range(4):
        fleet.send(event(f"more-{step}"), step=step)


async def test_a_held_account_is_not_read(fleet: Fleet) -> None:
    """Of an account that an operator holds nothing is leased, neither new nor due; others go on."""
    fleet.send_many(2, "tencent")
    fleet.send_many(2, "alibaba")
    fleet.set_state("held")
    batch = await fleet.queue().lease({"tencent": 5, "alibaba": 5})
    assert [leased.account for leased in batch.leased] == ["alibaba"] * 2
    assert fleet.places().ready == 2


async def test_a_stopped_account_gives_one_probe_at_a_time(fleet: Fleet) -> None:
    """However many workers ask, one event goes, marked as the probe, and the next only after the interval."""
    fleet.send_many(9)
    fleet.set_state("stopped")
    batches = [
        await fleet.queue(f"w{n}").lease({"tencent": 5}, probe_interval=3600.0, solo=n == 3) for n in range(6)
    ]
    leased = [leased for batch in batches for leased in batch.leased]
    assert [event_.probe for event_ in leased] == [True]
    fleet.set_state("stopped")  # the interval is over
    assert not await fleet.take(), "the first probe is still on its way"
    await fleet.settle(leased[0], Schedule(60.0), worker="w0")
    assert len(await fleet.take(5)) == 1


async def test_no_probe_before_its_time(fleet: Fleet) -> None:
    """Until the interval has passed a stopped account gives nothing."""
    fleet.send_many(1)
    fleet.set_state("stopped", probe_in=60.0)
    assert await fleet.take() == []


async def test_another_event_is_the_probe(fleet: Fleet) -> None:
    """The event that stopped the account waits behind the others, new ones and those that were refused."""
    fleet.send_many(2)
    culprit, refused = await fleet.take(2)
    await fleet.settle(culprit, Schedule(0.05))
    await fleet.settle(refused, Schedule(0.0))
    fleet.send(event("new"))
    names: list[str] = []
    for _ in range(3):
        fleet.set_state("stopped")
        for delivery in await fleet.take():
            names.append(delivery.event.message_id)
            await fleet.settle(delivery, Schedule(60.0))
    assert names[:2] == ["new", refused.event.message_id]


async def test_a_suspect_as_probe_is_the_only_one(fleet: Fleet) -> None:
    """The one probe at a time may be a suspect, and then there is no other."""
    fleet.send_many(3)
    for delivery in await fleet.take(3):
        suspect(fleet, delivery)
    fleet.set_state("stopped")
    batches = [await fleet.queue(f"w{n}").lease({"tencent": 0}, solo=True) for n in range(3)]
    assert [leased.probe for batch in batches for leased in batch.leased] == [True]


def suspect(fleet: Fleet, delivery: Delivery) -> None:
    """Let two workers have died with an event that w1 holds."""
    leased = delivery.leased
    fleet.server.hset(fleet.keys.taken("tencent"), delivery.tag, b"2 0 5\n\n" + leased.raw)
    fleet.server.srem(fleet.keys.held("w1"), delivery.tag)
    fleet.server.zadd(fleet.keys.suspects("tencent"), {delivery.tag: 1})


@pytest.mark.parametrize(
    ("settlement", "again"),
    [
        (Finish(Ending.SKIPPED), True),
        (Finish(Ending.DUPLICATE), True),
        (Bury(Reason.EXPIRED, b""), True),
        (Bury(Reason.INVALID, b""), True),
        (Bury(Reason.PERMANENT, b""), False),
        (Schedule(1.0), False),
    ],
    ids=repr,
)
async def test_a_probe_that_asked_nothing_is_followed_at_once(
    fleet: Fleet, settlement: Settlement, again: bool
) -> None:
    """Where a probe ended without a word of the provider, the next one need not wait for the interval."""
    fleet.send_many(2)
    fleet.set_state("stopped")
    (probe,) = await fleet.take()
    probe.sending = not again
    await fleet.settle(probe, settlement)
    assert bool(await fleet.take()) is again


async def test_fifty_refused_for_good_stop_the_account(fleet: Fleet) -> None:
    """Fifty permanent faults in a row speak against the account; forty-nine and a success do not."""
    fleet.send_many(100)
    deliveries = await fleet.take(100)
    for delivery in deliveries[:49]:
        await fleet.settle(delivery, Bury(Reason.PERMANENT, b""))
    await fleet.settle(deliveries[49], DONE)
    for delivery in deliveries[50:99]:
        await fleet.settle(delivery, Bury(Reason.PERMANENT, b""))
    assert "state" not in fleet.state()
    await fleet.settle(deliveries[99], Bury(Reason.PERMANENT, b""))
    assert fleet.state()["state"] == "stopped"
    assert fleet.state()["code"] == "permanent_run"


async def test_faults_of_other_kinds_stop_no_account(fleet: Fleet) -> None:
    """Events that ended for another reason than the provider's refusal do not count."""
    fleet.send_many(60)
    for delivery in await fleet.take(60):
        await fleet.settle(delivery, Bury(Reason.EXPIRED, b""))
    assert fleet.state() == {}


async def test_a_worker_knows_when_its_lease_ran_out(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts from when it asked; without an answer, or without a turn of the processor, it holds nothing."""
    queue, now = fleet.queue(), [1000.0]

    def later() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr("tasks.queue.queue.now", later)
    assert not queue.holds()
    await queue.lease({})
    asked = 1002.0
    now[0] = asked + fleet.lease - 1.5
    assert queue.holds()
    assert not queue.holds()
    await queue.lease({})
    assert queue.holds()


async def settled(fleet: Fleet, settlement: Settlement) -> list[Leased]:
    """Lease two hundred events and settle them all alike."""
    leased = (await fleet.queue().lease({"tencent": 200})).leased
    for one in leased:
        assert await fleet.settle(one, settlement)
    return leased


def test_a_lease_runs_out_while_the_machine_is_suspended() -> None:
    """Its clock is the one that goes on; the monotonic one stands still meanwhile."""
    booted = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert booted <= module.now() <= time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.parametrize("want", [1, 3])
async def test_retries_and_new_events_take_turns(fleet: Fleet, want: int) -> None:
    """However few a worker takes at a time, neither those that are due again nor new ones wait for all the others."""
    fleet.send_many(200)
    again = {leased.tag for leased in await settled(fleet, Schedule(0.0))}
    fleet.send_many(200)
    retries = 0
    for _ in range(60):
        batch = await fleet.queue().lease({"tencent": want})
        retries += sum(leased.tag in again for leased in batch.leased)
    assert 15 * want < retries < 45 * want


async def test_accounts_of_one_group_take_what_it_can_send(fleet: Fleet) -> None:
    """Two accounts that share a limit take together what one would; another one takes its own."""
    for account in ("a", "b", "c"):
        fleet.send_many(20, account)
    wants = dict.fromkeys("abc", 10)
    batch = await fleet.queue().lease(wants, groups={"a": "shared", "b": "shared"})
    taken = Counter(leased.account for leased in batch.leased)
    assert taken["a"] + taken["b"] == 10
    assert taken["c"] == 10


async def test_who_holds_nothing_leaves(fleet: Fleet) -> None:
    """At its end a worker takes itself off the list, unless it still holds something to be taken back."""
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    await fleet.queue().leave()
    assert fleet.server.zcard(fleet.keys.workers) == 1
    await fleet.settle(delivery, DONE)
    await fleet.queue().leave()
    assert fleet.server.zcard(fleet.keys.workers) == 0


@pytest.mark.parametrize("seed", range(4))
async def test_the_books_balance_at_every_step(fleet: Fleet, seed: int) -> None:
    """Several workers lease, settle, settle twice, lose their leases and die: no event is lost or counted twice."""
    dice = random.Random(seed)
    chaos = Chaos(fleet, dice)
    suspects = 0
    for _ in range(200):
        await chaos.step()
        places = fleet.places()
        assert places.balanced, (chaos.story[-8:], places)
        suspects = max(suspects, places.suspects)
    assert fleet.places().taken + fleet.places().ready == chaos.sent
    assert fleet.places().finished > 0
    assert suspects > 0, "the story had no second death"


async def test_a_settlement_that_forgets_the_lease_is_noticed(fleet: Fleet) -> None:
    """The balance can fail: a script that leaves the tag in `held` is found out."""
    alter(
        fleet.queue(), "_settle_script", "queue/settle.lua", "need(KEYS[1], many('SREM', KEYS[1], tags))", "1"
    )
    fleet.send_many(1)
    (delivery,) = await fleet.take()
    await fleet.settle(delivery, Schedule(0.0))
    assert not fleet.places().balanced


class Chaos:
    """Random operations of three workers, two of which may die."""

    def __init__(self, fleet: Fleet, dice: random.Random) -> None:
        self.fleet, self.dice = fleet, dice
        self.held: dict[str, list[Delivery]] = {"w1": [], "w2": [], "w3": []}
        self.last: dict[str, tuple[list[tuple[Delivery, Settlement]], int]] = {}
        self.story: list[str] = []
        self.sent = 0

    async def step(self) -> None:
        """Do one thing."""
        worker = self.dice.choice(list(self.held))
        action = self.dice.choice(
            [self.send, self.lease, self.lease, self.settle, self.settle, self.again, self.die]
        )
        self.story.append(f"{action.__name__} {worker}")
        await action(worker)

    async def send(self, _: str) -> None:
        """Enqueue some events."""
        number = self.dice.randrange(1, 9)
        self.fleet.send_many(number)
        self.sent += number

    async def lease(self, worker: str) -> None:
        """Lease some, alone or not; some replies are lost."""
        solo = self.dice.random() < 0.2
        batch = await self.fleet.queue(worker).lease({"tencent": self.dice.randrange(6)}, solo=solo)
        if self.dice.random() < 0.8:
            self.held[worker] += [Delivery(leased, event("any")) for leased in batch.leased]

    async def settle(self, worker: str) -> None:
        """Settle some of what the worker believes to hold."""
        held = self.held[worker]
        self.dice.shuffle(held)
        number = self.dice.randrange(len(held) + 1)
        ended = [(held.pop(), self.dice.choice(ENDS)) for _ in range(number)]
        queue = self.fleet.queue(worker)
        self.last[worker] = ended, queue.next_call()
        await queue.settle(*self.last[worker])

    async def again(self, worker: str) -> None:
        """Send the last settle call once more."""
        if worker in self.last:
            await self.fleet.queue(worker).settle(*self.last[worker])

    async def die(self, worker: str) -> None:
        """Let a worker's lease end, and another take back what it held; it may not know it."""
        if worker == "w1":
            return
        server, keys = self.fleet.server, self.fleet.keys
        server.zadd(keys.workers, {worker: 1})
        server.hset(keys.maintenance, mapping={"heartbeat_ms": server.time()[0] * 1000, "grace_until_ms": 0})
        await self.fleet.new_queue("w9").recover(["tencent"])
        if self.dice.random() < 0.5:
            self.held[worker] = []
