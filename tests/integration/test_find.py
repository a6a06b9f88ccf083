"""`find`: what happened to one event, wherever it is, and while it moves."""

import json
import random
import re
import shutil
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
import redis

from otpreport.wire import encode
from tasks.dead_letters.store import DeadLetters, ReplayPace
from tasks.dead_letters.write import write
from tasks.dedupe import Remembered
from tasks.delivery import Delivery, read
from tasks.find import finder
from tasks.find.finder import DeliveredPlace, EndedPlace, Finder, Looked, Place, TakenPlace, WaitingPlace
from tasks.find.memory import EndedMemory
from tasks.history import History
from tasks.keys import Keys
from tasks.keyspace import MOST_NAMED
from tasks.retry import Reason
from tasks.settlement import DELIVERED, Bury, Schedule, Settlement
from tasks.shared import SEARCHED_AT_ONCE
from tests.integration.test_looking_on import USER, url_of, without_keys
from tests.support.command import ROOT, Ran, call, call_in
from tests.support.dead import REFUSED, Death, Undertaker
from tests.support.leased import event, message
from tests.support.queues import Fleet
from tests.support.redis_servers import add_user, debians, needs_debians
from worker.embedded import EmbeddedValkey, free_port


def places(ran: Ran) -> list[str]:
    """Return where the command found the event."""
    assert ran.status == 0, ran.out + ran.err
    return [place["place"] for place in ran.json["places"]]


def look(client: redis.Redis, message_id: str, *accounts: str) -> tuple[list[Place], Looked]:
    """Look for an event without the command around it."""
    keys = Keys()
    memory = EndedMemory(client, keys, Remembered())
    return Finder(client, keys, memory).find(message_id, accounts or ("tencent",))


async def test_every_place_along_its_way(fleet: Fleet, url: str) -> None:
    """Waiting, leased, scheduled with attempt, time and code, dead with reason and code, delivered: one line each."""
    fleet.send(event("5000:1"), event("5000:2"))
    ran = call(url, "find", "5000:1")
    assert (ran.status, ran.out.splitlines()[0]) == (
        0,
        "tencent: waiting in the queue, about 0 events before it",
    )
    assert call(url, "find", "5000:2", "--json").json["places"][0]["before"] == 1

    (first,) = await fleet.take(1)
    ran = call(url, "find", "5000:1")
    assert ran.out.startswith(f"tencent: leased by worker w1, attempt 1, id {first.tag}\n")

    history = History((replace(REFUSED, code="InternalError.Timeout", message="try later"),))
    assert await fleet.settle(first, Schedule(60, first.leased.record(history)))
    ran = call(url, "find", "5000:1")
    assert ran.out.startswith("tencent: scheduled: attempt 2 at ")
    assert "UTC (in " in ran.out
    assert "last: InternalError.Timeout try later" in ran.out
    found = call(url, "find", "5000:1", "--json").json
    assert (found["places"][0]["attempt"], found["places"][0]["last_code"]) == (2, "InternalError.Timeout")
    assert (found["places"][0]["waits_for"], found["found"]) == ("retry", True)

    (second,) = await fleet.take(1)
    assert await fleet.settle(second, DELIVERED)
    ran = call(url, "find", "5000:2", "--account", "tencent")
    assert ran.out.startswith("tencent: delivered, some time between ")
    assert len(ran.out.splitlines()) == 1
    end = datetime.strptime(ran.out.split(" and ")[1][:19], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    assert end <= datetime.now(UTC), "what is remembered ends with its period, later than now"
    assert places(call(url, "find", "5000:2", "--json")) == ["delivered"]


def documented_fields() -> dict[str, set[str]]:
    """Return what the docs say that a place has in JSON."""
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8").partition("| `place` | fields |")[2]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text.partition("\n\n")[0], re.MULTILINE)
    return {place: set(re.findall(r"`(\w+)`", fields)) for place, fields in rows}


async def test_each_place_has_the_documented_fields(fleet: Fleet, url: str, valkey: redis.Redis) -> None:
    """A script finds what the docs promise, and nothing else; exit status 1 where Redis is away."""
    found = list[dict[str, Any]]()

    def note(message_id: str) -> None:
        found.extend(call(url, "find", message_id, "--json").json["places"])

    fleet.send(event("5000:1"))
    note("5000:1")
    (one,) = await fleet.take(1)
    note("5000:1")
    assert await fleet.settle(one, Schedule(60))
    note("5000:1")
    fleet.send(event("5000:2"), event("5000:3"))
    second, third = await fleet.take(2)
    assert await fleet.settle(second, DELIVERED)
    note("5000:2")
    letter = write(third.leased, History((REFUSED,)), Reason.EXHAUSTED, "", third.event, now_ms=1)
    assert await fleet.settle(third, Bury(Reason.EXHAUSTED, letter))
    note("5000:3")
    valkey.set(fleet.keys.scheduled("tencent"), "no sorted set")
    note("5000:1")
    documented = documented_fields()
    named = {place["place"]: place.keys() - {"account", "place", "text"} for place in found}
    otps = {"notice", "otp_open", "otp_early", "otp_closed"}
    assert named == {name: fields for name, fields in documented.items() if name not in {"ended", *otps}}
    complete = [call(url, "find", id_, "--json").json["looked"]["complete"] for id_ in ("5000:1", "5000:2")]
    assert complete == [False, True]
    away = call(f"redis://127.0.0.1:{free_port()}/0", "find", "5000:1", "--json")
    assert (away.status, away.out, "is unreachable" in away.line) == (1, "", True)


def test_a_dead_letter_says_which_and_why(url: str, undertaker: Undertaker) -> None:
    """Its id, reason, code, and the provider's words; also where no event could be read."""
    (id_,) = undertaker.bury("tencent")
    listed = call(url, "dead", "list", "--json").json["dead_letters"][0]
    ran = call(url, "find", listed["message_id"])
    assert ran.out.startswith(f"tencent: dead letter {id_} since ")
    assert "exhausted - InvalidParameter: no such SerialNo" in ran.out
    raw = message({"event": {"account": "tencent", "message_id": "7:wrong"}})
    (invalid,) = undertaker.bury("tencent", 1, Death(Reason.INVALID, (), raw))
    ran = call(url, "find", "7:wrong", "--json")
    assert (ran.json["places"][0]["letter"]["id"], ran.json["places"][0]["letter"]["reason"]) == (
        invalid,
        "invalid",
    )


def test_an_unknown_one_says_how_far_it_looked(url: str, undertaker: Undertaker) -> None:
    """Status 1, what unknown can mean, what was looked at, and how far the memory of deliveries goes back."""
    undertaker.bury("tencent", 2)
    undertaker.send("tencent", 3)
    ran = call(url, "find", "nobody:1")
    assert ran.status == 1
    assert ran.out.startswith("nobody:1 is unknown here: ")
    assert "looked at 2 accounts (alibaba, tencent), twice: 3 waiting, 0 leased or scheduled" in ran.out
    assert "2 dead letters; deliveries are remembered since " in ran.out
    reached = call(url, "find", "nobody:1", "--json").json["looked"]["delivered_since"]
    day = time.time() - 86_400
    assert abs(time.mktime(time.strptime(reached[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone - day) < 60


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ("tencnet", "--account tencnet: no such account: did you mean tencent?"),
        ("A B", "--account A B is not an account's name: use a-z, 0-9, _ and -"),
    ],
)
def test_a_wrong_account_is_no_unknown_event(url: str, account: str, said: str) -> None:
    """It is told as what it is, with status 2."""
    ran = call(url, "find", "5000:1", "--account", account)
    assert (ran.status, ran.line) == (2, said)


async def test_it_finds_what_no_worker_serves(fleet: Fleet, url: str) -> None:
    """An event in the queue of an account that nobody configured waits there."""
    fleet.send(event("5000:1", "tencnet"))
    ran = call(url, "find", "5000:1")
    assert (ran.status, ran.out.splitlines()[0]) == (
        0,
        "tencnet: waiting in the queue, about 0 events before it; no worker is configured for this account",
    )


async def test_a_queue_that_was_left_out_makes_nothing_unknown(fleet: Fleet, url: str) -> None:
    """Of queues without a worker only the largest are searched: what is in another one is not unknown."""
    for number in range(MOST_NAMED + 1):
        fleet.send(*(event(f"5000:{number}-{one}", f"gone{number}") for one in range(number + 1)))
    ran = call(url, "find", "5000:0-0")
    assert (ran.status, ran.out.startswith("5000:0-0 was not found, but")) == (1, True)
    assert not call(url, "find", "5000:0-0", "--json").json["looked"]["complete"]
    assert call(url, "find", "5000:0-0", "--account", "gone0").status == 0


WRITTEN = {
    "plain": encode(event("5000:9/é"), task_id="1"),
    "text body": message(
        envelope={"body": json.dumps([[], {"event": {"message_id": "5000:9/é"}}, {}]), "properties": {}}
    ),
    "escaped": message(body=b'[[],{"event":{"message_id":"5000:9\\/\\u00e9"}},{}]'),
    "protocol 1": message(body='{"kwargs":{"event":{"message_id":"5000:9/é"}}}'.encode()),
    "no task": '{"message_id": "5000:9/é"}'.encode(),
}


@pytest.mark.parametrize("raw", WRITTEN.values(), ids=WRITTEN)
async def test_however_it_is_written(fleet: Fleet, valkey: redis.Redis, raw: bytes) -> None:
    """Base64 or text, with escapes, in an order of fields of its own, in a message that no worker would take."""
    valkey.lpush("otpreport.tencent", encode(event("5000:8"), task_id="2"), raw)
    found, _ = look(valkey, "5000:9/é")
    assert found == [WaitingPlace("tencent", 1, raw)]


@pytest.mark.parametrize("front", range(3))
async def test_base64_at_any_place(valkey: redis.Redis, front: int) -> None:
    """The quick look at bytes knows all three ways in which base64 writes a text."""
    body = b'[[],{"event":{"m":"' + b"x" * front + b'","message_id":"5000:123"}},{}]'
    valkey.lpush("otpreport.tencent", message(body=body))
    assert look(valkey, "5000:123")[0]
    assert not look(valkey, "5000:12")[0]


def test_a_cut_letter_is_found_by_what_is_left(url: str, undertaker: Undertaker) -> None:
    """Of a message over 64 KB the first part is kept, which is no JSON; `--message-id` finds it, too."""
    text = json.dumps([[], {"event": {"message_id": "5000:long", "more": "x" * 99_000}}, {}]).encode()
    raw = json.dumps({"body": b64encode(text).decode()}).encode()
    undertaker.send("tencent", raw=raw)
    undertaker.round("tencent")
    assert places(call(url, "find", "5000:long", "--json")) == ["dead"]
    assert len(call(url, "dead", "list", "--message-id", "5000:long", "--json").json["dead_letters"]) == 1


async def test_a_suspect_and_one_that_nobody_holds(fleet: Fleet, valkey: redis.Redis) -> None:
    """They are found, as waiting to be leased alone, and as held by no live worker."""
    fleet.send(event("5000:1"))
    (one,) = await fleet.take(1)
    valkey.delete(fleet.keys.held("w1"))
    (found,) = look(valkey, "5000:1")[0]
    assert isinstance(found, TakenPlace)
    assert found.worker == ""
    valkey.zadd(fleet.keys.suspects("tencent"), {one.tag: 1})
    (found,) = look(valkey, "5000:1")[0]
    assert isinstance(found, TakenPlace)
    assert (found.alone, found.due_ms) == (True, 1)


async def test_a_key_that_cannot_be_read_is_named(fleet: Fleet, url: str, valkey: redis.Redis) -> None:
    """The other places are looked at all the same; an event that is not there was `not found`; it is not unknown."""
    fleet.send(event("5000:1"))
    valkey.set(fleet.keys.dead("tencent"), "no hash")
    ran = call(url, "find", "5000:1")
    assert (ran.status, "waiting in the queue" in ran.out, "not readable: WRONGTYPE" in ran.out) == (
        0,
        True,
        True,
    )
    ran = call(url, "find", "5000:2")
    assert (ran.status, "5000:2 was not found, but" in ran.out) == (1, True)
    assert "otpreport:dead:tencent" in ran.out


def test_who_only_looks_on_may_find(tmp_path: Path) -> None:
    """The read-only user is enough, without any key of a provider; nothing is written."""
    with EmbeddedValkey(tmp_path) as server:
        add_user(server.port, USER)
        undertaker = Undertaker(server.port)
        (id_,) = undertaker.bury("tencent")
        undertaker.send("tencent", 3)
        undertaker.lease("tencent", 1)
        ran = call_in(without_keys(url_of(server)), "find", "nobody:1")
        assert (ran.status, "unknown here" in ran.out) == (1, True), ran.err
        wanted = call(server.url, "dead", "show", id_, "--json").json["message_id"]
        assert call_in(without_keys(url_of(server)), "find", wanted).status == 0


@pytest.mark.parametrize("right", ["hget", "zscore", "zrange", "sismember", "lrange"])
@pytest.mark.parametrize("make", [EmbeddedValkey, pytest.param(debians, marks=needs_debians)])
def test_a_missing_right_is_no_end(
    tmp_path: Path, make: Callable[[Path], EmbeddedValkey], right: str
) -> None:
    """Nothing is said of the event then, but which right lacks, though Redis 7.0 tells only the script's line."""
    with make(tmp_path) as server:
        add_user(server.port, USER, f"-{right}")
        undertaker = Undertaker(server.port)
        undertaker.send("tencent")
        undertaker.lease("tencent", 1)
        ran = call_in(without_keys(url_of(server)), "find", str(undertaker.last.message_id))
        assert (ran.status, ran.out) == (2, "")
        assert f"'{right}'" in ran.line


async def test_a_place_that_cannot_be_read(fleet: Fleet, url: str, valkey: redis.Redis) -> None:
    """The event was seen: so it is neither unknown nor ended."""
    fleet.send(event("5000:1"))
    await fleet.take(1)
    valkey.set(fleet.keys.scheduled("tencent"), "no sorted set")
    ran = call(url, "find", "5000:1", "--json")
    assert (ran.status, places(ran)) == (0, ["unclear"])
    assert any("WRONGTYPE" in doubt for doubt in ran.json["looked"]["doubts"])


async def test_pages_miss_nothing(fleet: Fleet, valkey: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every event of a long list is found, though pages are short and events come and go meanwhile."""
    monkeypatch.setattr(finder, "FIRST", 4)
    monkeypatch.setattr(finder, "MOST", 7)
    fleet.send_many(200)
    for number in range(0, 200, 9):
        found, looked = look(valkey, f"tencent-{number}")
        assert isinstance(found[0], WaitingPlace)
        assert found[0].before == number
        assert looked.looks == 1
        assert looked.waiting == 200


class Draining:
    """A client whose list is empty after the first page, as if workers had been quick."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    def __getattr__(self, name: str) -> Any:
        """Return the client's command."""
        return getattr(self._client, name)

    def lrange(self, key: str, start: int, end: int) -> Any:
        """Return a page, the last."""
        page = self._client.lrange(key, start, end)
        self._client.delete(key)
        return page


async def test_a_list_that_shrinks_meanwhile_was_looked_at(fleet: Fleet, valkey: redis.Redis) -> None:
    """What was read of it is told, also when nothing is left at the next page."""
    fleet.send_many(200)
    _, looked = look(cast("redis.Redis", Draining(valkey)), "nobody:1")
    assert looked.waiting == finder.FIRST


class Newest(Draining):
    """A client after whose first page a search takes the newest messages of the list."""

    def lrange(self, key: str, start: int, end: int) -> Any:
        """Return a page."""
        page = self._client.lrange(key, start, end)
        if start == 0:
            self._client.lpop(key, SEARCHED_AT_ONCE)
        return page


async def test_a_search_for_good_events_hides_none(fleet: Fleet, valkey: redis.Redis) -> None:
    """Newest messages are taken between two pages, and all others move to the front: none slips through."""
    fleet.send_many(200)
    next_page = 199 - finder.FIRST
    (found,), _ = look(cast("redis.Redis", Newest(valkey)), f"tencent-{next_page}")
    assert isinstance(found, WaitingPlace)


class Way:
    """One event on its way, a step at a time: leased, scheduled, leased, dead, replayed, leased, delivered."""

    def __init__(self, undertaker: Undertaker, client: redis.Redis) -> None:
        self._undertaker = undertaker
        self._letters = DeadLetters(client, Keys())
        undertaker.send("tencent")
        self.message_id = str(undertaker.last.message_id)
        self._steps = iter(
            (self._lease, self._schedule, self._lease, self._bury, self._replay, self._lease, self._deliver)
        )

    def step(self) -> None:
        """Move it on."""
        next(self._steps)()

    def _lease(self) -> None:
        (self._leased,) = self._undertaker.lease("tencent")

    def _settle(self, settlement: Settlement) -> None:
        delivery = read(self._leased, now_ms=self._leased.first_ms)
        assert isinstance(delivery, Delivery)
        assert self._undertaker.settle([(delivery, settlement)]) == [True]

    def _schedule(self) -> None:
        self._settle(Schedule(0))

    def _bury(self) -> None:
        found = read(self._leased, now_ms=self._leased.first_ms)
        letter = write(self._leased, History((REFUSED,)), Reason.EXHAUSTED, "", found.event, now_ms=1)
        self._settle(Bury(Reason.EXHAUSTED, letter))

    def _replay(self) -> None:
        letter = self._letters.find(self._leased.tag)
        assert letter is not None
        assert list(self._letters.replay([letter], {"tencent": ReplayPace(1, "g", 1e6)})) == [1]

    def _deliver(self) -> None:
        self._settle(DELIVERED)


STEPS = 7


class Unquiet:
    """A client during whose commands an event moves on: before the commands with these numbers."""

    def __init__(self, client: redis.Redis, way: Way, moments: list[int]) -> None:
        self._client: Any = client
        self._way = way
        self._moments = moments
        self._commands = 0

    def __getattr__(self, name: str) -> Any:
        """Return the client's command, with the moves before it."""
        self._commands += 1
        for _ in range(self._moments.count(self._commands)):
            self._way.step()
        return getattr(self._client, name)


@pytest.mark.parametrize("seed", range(40))
def test_an_event_that_moves_on_is_never_unknown(
    valkey: redis.Redis, undertaker: Undertaker, seed: int
) -> None:
    """Whenever it moves on during the look, also back by a replay, it is met: there, or further along its way."""
    way, chance = Way(undertaker, valkey), random.Random(seed)
    moments = sorted(chance.randrange(2, 20) for _ in range(STEPS))
    found, _ = look(cast("redis.Redis", Unquiet(valkey, way, moments)), way.message_id)
    assert found, moments


def test_one_look_is_not_enough(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Negative control: what is replayed between two places is missed by the first look, and met by the second."""
    way = Way(undertaker, valkey)
    for _ in range(4):
        way.step()
    # the server, six commands for its OTP, four lists, the taken (it is dead), then replayed and leased before the dead
    # letters are read
    found, looked = look(cast("redis.Redis", Unquiet(valkey, way, [14, 14])), way.message_id)
    assert looked.looks == 2
    assert isinstance(found[0], TakenPlace)


@pytest.mark.parametrize("moment", range(2, 16))
def test_what_has_left_the_queue_does_not_wait(
    valkey: redis.Redis, undertaker: Undertaker, moment: int
) -> None:
    """An event that was seen in the queue, and is delivered by the end of the look, is in one place alone."""
    way = Way(undertaker, valkey)
    found, _ = look(cast("redis.Redis", Unquiet(valkey, way, [moment] * STEPS)), way.message_id)
    assert [type(place) for place in found] == [DeliveredPlace]


def test_a_letter_that_is_queued_for_replay_says_so(url: str, undertaker: Undertaker) -> None:
    """So that nobody replays it once more."""
    undertaker.bury("tencent")
    wanted = call(url, "dead", "list", "--json").json["dead_letters"][0]["message_id"]
    assert "queued for replay" not in call(url, "find", wanted).out
    assert call(url, "dead", "replay", "--all", "--yes").status == 0
    assert "queued for replay" in call(url, "find", wanted).out


class Restarting:
    """A client before one of whose commands, the one with this number, Redis is killed and started again."""

    def __init__(self, client: redis.Redis, server: EmbeddedValkey, moment: int, *, empty: bool) -> None:
        self._client: Any = client
        self._server = server
        self._moment = moment
        self._empty = empty

    def __getattr__(self, name: str) -> Any:
        """Return the client's command, if need be after a restart."""
        self._moment -= 1
        if self._moment == 0:
            self._server.kill()
            if self._empty:
                shutil.rmtree(self._server.folder)
            self._server.start()
        return getattr(self._client, name)


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("moment", [4, 9, 14])
def test_a_restart_of_redis_meanwhile_makes_nothing_unknown(
    tmp_path: Path, moment: int, *, empty: bool
) -> None:
    """What is not found then may have been missed: a new process has other cursors, and perhaps other data."""
    with EmbeddedValkey(tmp_path / "valkey") as server, redis.Redis(port=server.port) as client:
        undertaker = Undertaker(server.port)
        undertaker.bury("tencent", 300)
        restarting = cast("redis.Redis", Restarting(client, server, moment, empty=empty))
        found, looked = look(restarting, str(undertaker.last.message_id))
        assert looked.interrupted
        assert found or not looked.whole
        assert look(client, "nobody:1")[1].whole


class Forgetful:
    """A client after whose look at a hash the hash is gone."""

    def __init__(self, client: redis.Redis) -> None:
        self._client: Any = client

    def __getattr__(self, name: str) -> Any:
        """Return the client's command."""
        return getattr(self._client, name)

    def hscan(self, key: str, cursor: int, count: int) -> Any:
        """Return a page, the last."""
        page = self._client.hscan(key, cursor, count=count)
        self._client.delete(key)
        return page


async def test_what_ends_meanwhile_and_is_not_remembered(fleet: Fleet, valkey: redis.Redis) -> None:
    """It was seen: so it has ended, and is not unknown."""
    fleet.send(event("5000:1"))
    (one,) = await fleet.take(1)
    assert look(cast("redis.Redis", Forgetful(valkey)), "5000:1")[0] == [EndedPlace("tencent", one.tag)]
