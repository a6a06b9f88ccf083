"""The dead letters in a real Redis: read, replayed, purged, also half-way and by two at a time."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.exceptions import OutOfMemoryError

from tasks.dead_letters.filter import Filter
from tasks.dead_letters.letter import Letter
from tasks.dead_letters.store import PAGE, DeadLetters, ReplayPace
from tasks.fleet.snapshot import SnapshotReader
from tasks.history import History
from tasks.keys import Keys
from tasks.retry import Reason
from tasks.settlement import Ending, Finish
from tests.support.dead import LOST, REFUSED, Death, Undertaker

MANY = 2000
EVERY = Filter()

AT_ONCE = {"tencent": ReplayPace(1.0, "g", 1e9)}
"""So fast that a lease gets all it asks for."""


def port(client: redis.Redis) -> int:
    """Return the port of the server that a client talks to."""
    number = client.connection_pool.connection_kwargs["port"]
    assert isinstance(number, int)
    return number


def gap(client: redis.Redis) -> int:
    """Return how many events are unaccounted for, or twice."""
    return SnapshotReader(client, Keys(), {"tencent": "g"}).read().gap


def waiting(letters: DeadLetters) -> int:
    """Return how many letters wait to be sent again."""
    return sum(replay.waiting for replay in letters.replays())


def unasked(letters: DeadLetters) -> list[Letter]:
    """Return the letters that do not."""
    return [letter for letter in letters.letters(EVERY) if not letter.waits]


def ids(letters: Iterator[Letter]) -> list[str]:
    """Return the ids."""
    return [letter.id for letter in letters]


class FailingClient:
    """A client whose scripts fail after some calls: what a kill, or a Redis that goes away, looks like."""

    def __init__(self, client: redis.Redis, calls: int, *, executed: bool = False) -> None:
        self._client: Any = client
        self._calls = calls
        self._executed = executed

    def register_script(self, text: str) -> Any:
        """Return the script, which counts its calls where it moves letters."""
        script = self._client.register_script(text)
        if "no-writes" in text:
            return script

        def run(keys: list[str], arguments: list[Any]) -> Any:
            if self._calls == 0:
                if self._executed:
                    script(keys, arguments)
                raise redis.ConnectionError("gone")
            self._calls -= 1
            return script(keys, arguments)

        return run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_every_letter_is_listed_whatever_their_number(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """2000 letters, more than pages hold and many in the same millisecond, come once each, in both orders."""
    buried = undertaker.bury("tencent", MANY)
    letters = DeadLetters(valkey, Keys())
    assert MANY > 3 * PAGE
    assert sorted(ids(letters.letters(EVERY))) == sorted(buried)
    newest = list(letters.newest(EVERY))
    assert sorted(letter.id for letter in newest) == sorted(buried)
    times = [letter.died_ms for letter in newest]
    assert times == sorted(times, reverse=True)
    assert letters.count(EVERY) == MANY


def test_letters_of_one_millisecond_are_not_skipped_between_pages(
    valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """A page that ends amid letters of the same time takes all of these along."""
    buried = undertaker.bury("tencent", 1200)
    scores = dict.fromkeys(buried, 7) | dict.fromkeys(buried[:3], 1)
    valkey.zadd(Keys().dead_index("tencent"), scores)  # as if all had died at once
    assert sorted(ids(DeadLetters(valkey, Keys()).letters(EVERY))) == sorted(buried)


def test_letters_of_an_account_that_is_configured_no_longer_are_listed(
    valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """Accounts are found by what is in Redis, merged newest first, or named."""
    old = undertaker.bury("gone", 3)
    new = undertaker.bury("tencent", 2)
    letters = DeadLetters(valkey, Keys())
    assert letters.accounts() == ["gone", "tencent"]
    assert {letter.account for letter in list(letters.newest(EVERY))[:2]} == {"tencent"}
    assert sorted(ids(letters.letters(Filter(accounts=frozenset({"gone"}))))) == sorted(old)
    assert sorted(ids(letters.letters(EVERY))) == sorted(old + new)


def test_another_prefix_is_another_world(valkey: redis.Redis) -> None:
    """With a key prefix only its own letters are seen."""
    Undertaker(port(valkey)).bury("tencent", 1)
    inner = Undertaker(port(valkey), prefix="shop:").bury("tencent", 2)
    assert sorted(ids(DeadLetters(valkey, Keys("shop:")).letters(EVERY))) == sorted(inner)
    assert DeadLetters(valkey, Keys("other:")).accounts() == []


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(reasons=frozenset({"expired"})), 2),
        (Filter(codes=frozenset({"Invalid*"})), 3),
        (Filter(codes=frozenset({"Invalid*"}), in_doubt=True), 0),
        (Filter(in_doubt=True), 4),
        (Filter(in_doubt=False), 5),
        (Filter(since_ms=10**14), 0),
        (Filter(until_ms=1), 0),
        (Filter(since_ms=1, until_ms=10**14), 9),
    ],
)
def test_a_filter_finds_what_it_says(
    valkey: redis.Redis, undertaker: Undertaker, wanted: Filter, found: int
) -> None:
    """Reason, code, doubt and time each choose the right letters."""
    undertaker.bury("tencent", 3)
    undertaker.bury("tencent", 4, Death(attempts=(REFUSED, LOST)))
    undertaker.bury("tencent", 2, Death(Reason.EXPIRED, ()))
    letters = DeadLetters(valkey, Keys())
    assert len(list(letters.letters(wanted))) == found
    assert len(list(letters.newest(wanted))) == found


def test_one_letter_is_found_with_its_message(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """The whole story and the bytes as they were sent; no such id is None."""
    [id_] = undertaker.bury("tencent", 1, Death(Reason.INVALID, (), b"\xff no json\n\n"))
    letters = DeadLetters(valkey, Keys())
    found = letters.find(id_)
    assert found is not None
    assert (found.raw, found.reason, found.text("why")[:23]) == (
        b"\xff no json\n\n",
        "invalid",
        "the message is not JSON",
    )
    assert letters.find("tencent:none:1") is None
    assert letters.find("") is None


def test_a_replayed_event_starts_afresh(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """It waits as a dead letter; then it has no attempts, no deaths, the same bytes, and the time of its replay."""
    [id_] = undertaker.bury("tencent")
    letters = DeadLetters(valkey, Keys())
    before = letters.find(id_)
    assert before is not None
    assert list(letters.replay([before], AT_ONCE)) == [1]
    after = letters.find(id_)
    assert after is not None
    assert (before.waits, after.waits, after.story) == (False, True, before.story)
    assert gap(valkey) == 0
    [leased] = undertaker.lease("tencent")
    assert (leased.tag, leased.raw, leased.deaths, leased.solitary_deaths) == (id_, before.raw, 0, 0)
    assert leased.history == History(replayed_ms=leased.history.replayed_ms)
    assert leased.history.replayed_ms is not None
    assert before.died_ms <= leased.history.replayed_ms <= letters.now_ms()
    assert letters.find(id_) is None
    assert (waiting(letters), gap(valkey)) == (0, 0)
    left = {Keys().dead_reasons, Keys().replays("tencent"), Keys().replay("tencent")}
    assert not valkey.exists(*left)


@pytest.mark.parametrize("doubt", [True, False])
def test_a_replay_does_not_forget_a_doubt(valkey: redis.Redis, undertaker: Undertaker, doubt: bool) -> None:
    """The provider may still have taken it the first time: if it dies again, it is in doubt again."""
    [id_] = undertaker.bury("tencent", death=Death(attempts=(LOST if doubt else REFUSED,)))
    letters = DeadLetters(valkey, Keys())
    letter = letters.find(id_)
    assert letter is not None
    list(letters.replay([letter], AT_ONCE))
    [leased] = undertaker.lease("tencent")
    assert (leased.history.attempts, leased.history.in_doubt) == ((), doubt)


def test_a_replayed_event_can_be_delivered_and_the_books_balance(
    valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """From dead to leased to delivered: at each step the event stands in one place."""
    undertaker.bury("tencent", 5)
    letters = DeadLetters(valkey, Keys())
    assert sum(letters.replay(letters.letters(EVERY), AT_ONCE)) == 5
    assert gap(valkey) == 0
    leased = undertaker.lease("tencent", 9)
    assert len(leased) == 5
    assert gap(valkey) == 0
    undertaker.settle([(one, Finish(Ending.DELIVERED)) for one in leased])
    assert gap(valkey) == 0
    [account] = SnapshotReader(valkey, Keys(), {"tencent": "g"}).read().accounts
    assert (account.booked["taken"], account.booked["delivered"]) == (5, 5)


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("after", [0, 1, 7])
def test_a_replay_killed_half_way_and_run_again_moves_each_once(
    valkey: redis.Redis,
    undertaker: Undertaker,
    after: int,
    executed: bool,
) -> None:
    """Whether or not the last call was carried out before the end, no event is lost or there twice."""
    buried = undertaker.bury("tencent", MANY)
    killed = DeadLetters(FailingClient(valkey, after, executed=executed), Keys())  # type: ignore[arg-type] # a twin
    batches = killed.replay(killed.letters(EVERY), AT_ONCE)
    assert [next(batches) for _ in range(after)] == [200] * after
    with pytest.raises(redis.ConnectionError):
        next(batches)
    letters = DeadLetters(valkey, Keys())
    left = unasked(letters)
    assert len(left) == MANY - (after + executed) * 200
    assert gap(valkey) == 0
    # the workers do not wait for the second try
    first = [one.tag for one in undertaker.lease("tencent", 300)]
    assert len(first) == min(300, MANY - len(left))
    assert sum(letters.replay(letters.letters(EVERY), AT_ONCE)) == len(left)
    assert unasked(letters) == []
    assert gap(valkey) == 0
    assert sorted(first + [one.tag for one in undertaker.lease("tencent", 2 * MANY)]) == sorted(buried)
    assert undertaker.lease("tencent", 10) == []
    assert letters.count(EVERY) == 0
    assert gap(valkey) == 0


def test_the_books_would_show_a_replay_that_loses(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Negative control: a move in two steps, killed between them, leaves a gap."""
    [id_] = undertaker.bury("tencent")
    valkey.hdel(Keys().dead("tencent"), id_)
    assert gap(valkey) == 1


def test_two_replays_at_once_move_each_once(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """Two operators press the button together: their counts add up, and every event is there once."""
    buried = undertaker.bury("tencent", MANY)
    moved = [0, 0]
    start = threading.Barrier(2)

    def press(button: int) -> None:
        with redis.Redis(port=port(valkey)) as client:
            letters = DeadLetters(client, Keys(), batch=20)
            start.wait(10)
            moved[button] = sum(letters.replay(letters.letters(EVERY), AT_ONCE))

    threads = [threading.Thread(target=press, args=(button,)) for button in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(moved) == MANY
    assert gap(valkey) == 0
    assert sorted(one.tag for one in undertaker.lease("tencent", 2 * MANY)) == sorted(buried)


def test_a_letter_that_died_again_is_not_moved_by_an_old_look(
    valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """Between look and move it was replayed and died in doubt: it is another letter now, and stays."""
    [id_] = undertaker.bury("tencent")
    letters = DeadLetters(valkey, Keys())
    [seen] = letters.letters(EVERY)
    valkey.zincrby(Keys().dead_index("tencent"), 1, id_)  # it died a millisecond later
    assert list(letters.replay([seen], AT_ONCE)) == [0]
    assert list(letters.purge([seen])) == [0]
    [seen] = letters.letters(EVERY)
    assert list(letters.replay([seen], AT_ONCE)) == [1]


def test_a_replay_ends_although_its_events_die_again(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """What dies after the replay began is not its business: it can't chase its own events for ever."""
    undertaker.bury("tencent", 3)
    letters = DeadLetters(valkey, Keys(), batch=1)
    wanted = letters.until_now(EVERY)
    assert wanted.until_ms is not None
    died = wanted.until_ms + 1
    valkey.zadd(Keys().dead_index("tencent"), dict.fromkeys(ids(letters.letters(EVERY))[:1], died))
    assert sum(letters.replay(letters.letters(wanted), AT_ONCE)) == 2
    assert [letter.died_ms for letter in unasked(letters)] == [died]


def test_purged_letters_are_booked(valkey: redis.Redis, undertaker: Undertaker) -> None:
    """They are gone for good, counted as purged, and the counts by reason follow."""
    undertaker.bury("tencent", 450)
    undertaker.bury("tencent", 3, Death(Reason.EXPIRED, ()))
    letters = DeadLetters(valkey, Keys())
    assert list(letters.purge(letters.letters(Filter(reasons=frozenset({"exhausted"}))))) == [200, 200, 50]
    [account] = SnapshotReader(valkey, Keys(), {"tencent": "g"}).read().accounts
    assert (account.gap, account.dead, account.booked["purged"]) == (0, 3, 450)
    assert account.dead_by_reason == {"expired": 3}


def test_a_foreign_record_is_listed_never_replayed_and_can_be_purged(
    valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """Replaying what can't be read would make a message of it."""
    [id_] = undertaker.bury("tencent")
    valkey.hset(Keys().dead("tencent"), id_, b"not ours")
    letters = DeadLetters(valkey, Keys())
    [found] = letters.letters(EVERY)
    assert not found.readable
    assert list(letters.replay([found], AT_ONCE)) == []
    assert list(letters.purge([found])) == [1]


def test_a_full_redis_lets_letters_be_replayed_and_purged(
    valkey: redis.Redis, undertaker: Undertaker
) -> None:
    """Both only move what is there, so they go on where new events are refused."""
    undertaker.bury("tencent", 600)
    untyped: Any = valkey
    untyped.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            valkey.set("x", "y")
        letters = DeadLetters(valkey, Keys())
        first = list(letters.letters(EVERY))[:300]
        assert sum(letters.replay(first, AT_ONCE)) == 300
        assert sum(letters.purge(unasked(letters))) == 300
        assert len(undertaker.lease("tencent", 300)) == 300
    finally:
        untyped.config_set("maxmemory", 0)
    assert gap(valkey) == 0
