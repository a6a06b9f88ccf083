"""Find an event by its message id, wherever it is and while it moves."""

from __future__ import annotations

import string
import time
from base64 import b64encode
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import ResponseError

from tasks.body import message_ids
from tasks.dead_letters.letter import Letter
from tasks.delivery import Leased
from tasks.find.memory import EndedMemory
from tasks.find.otps import EarlyOtp, OpenOtp, OtpPlace, notice_of
from tasks.keys import Keys
from tasks.keyspace import naming
from tasks.script import Arguments, is_denied, text_of
from tasks.shared import LOW, MAX_BYTES, SEARCHED_AT_ONCE
from tasks.stored import integer, number, text

if TYPE_CHECKING:
    from redis import Redis

BYTES, HASHED_BYTES = 2_000_000, 500_000
"""Bytes that a page of a list is meant to have, and one of a hash: about a ms of Redis.

To reach the middle of a list of a million, Redis walks for 2 ms. So few large pages cost less than many small ones.
"""

LONGEST_REST = 0.01
"""Seconds between two pages, at most; else as long as the last one took, so that Redis has time for workers."""

FIRST, MOST, HASHED = 64, 2500, 200
"""Messages in the first page of a list, in any page of one, and fields in any page of a hash."""

LONGEST = 4 * MAX_BYTES
"""Bytes that are read of one record: its history and its message."""

_UNESCAPED = frozenset(string.ascii_letters + string.digits + " !#$()*,-.:;=@[]^_`{|}~")
"""What no JSON encoder writes in another way."""


@dataclass(frozen=True, slots=True)
class WaitingPlace:
    """It waits in the queue; about so many wait `before` it in the same list."""

    account: str
    before: int
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakenPlace:
    """It is leased by a worker (empty: by none that lives), or in the schedule until `due_ms`.

    `alone`: workers died with it, so it waits to be leased alone.
    """

    account: str
    leased: Leased
    worker: str = ""
    due_ms: float | None = None
    alone: bool = False

    @property
    def eta(self) -> bool:
        """Whether it waits for a time that its producer named."""
        return self.due_ms is not None and not self.alone and self.due_ms % 1 == 0.5


@dataclass(frozen=True, slots=True)
class DeadPlace:
    """It is a dead letter."""

    account: str
    letter: Letter


@dataclass(frozen=True, slots=True)
class DeliveredPlace:
    """It was delivered between two times (ms)."""

    account: str
    from_ms: int
    until_ms: int
    verified: bool


@dataclass(frozen=True, slots=True)
class EndedPlace:
    """It was seen and has ended since, but is not remembered as delivered."""

    account: str
    tag: str


@dataclass(frozen=True, slots=True)
class UnclearPlace:
    """It was seen among the leased and scheduled ones or the dead letters; which, could not be read."""

    account: str
    tag: str


EventPlace = WaitingPlace | TakenPlace | DeadPlace | DeliveredPlace | EndedPlace | UnclearPlace
Place = EventPlace | OtpPlace


@dataclass(slots=True)
class Looked:
    """How far one look went: accounts, how many of what, how often, and why it may have missed something.

    `notices` were told of OTPs and wait to be noted.
    """

    accounts: Sequence[str]
    waiting: int = 0
    notices: int = 0
    taken: int = 0
    dead: int = 0
    looks: int = 0
    faults: list[str] = field(default_factory=list[str])
    interrupted: bool = False
    """Whether Redis was started anew, or another one took its place, while this looked."""

    @property
    def whole(self) -> bool:
        """Whether it missed nothing."""
        return not self.faults and not self.interrupted


class Sought:
    """A message id, and how to tell quickly that bytes do not hold it."""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self._needles = _needles(message_id)

    def may_be_in(self, data: bytes) -> bool:
        """Return False only where the id is certainly not in the data."""
        return any(needle in data for needle in self._needles)

    def is_in(self, message: bytes) -> bool:
        """Return whether the message names this id."""
        return self.may_be_in(message) and self.message_id in message_ids(message)


def _needles(message_id: str) -> list[bytes]:
    """Return what the bytes of a message hold in any case; base64 has three ways to write the same text."""
    if not _UNESCAPED.issuperset(message_id):
        return [b""]
    text = message_id.encode()
    needles = [text]
    for shift in range(3):
        encoded = b64encode(bytes(shift) + text)
        needles.append(encoded[(shift * 8 + 5) // 6 : (shift + len(text)) * 8 // 6])
    return needles


class Finder:
    """Look for one event along its way: its OTP, queue, lease and schedule, dead letters, delivered events.

    It only reads, in pages, so that Redis is never kept for more than some ms. An event that moves on while it is
    looked for is met further along its way. One that was replayed meanwhile, and so went back, is met in a second
    look. Every call raises `redis.RedisError` when Redis is away.
    """

    def __init__(self, client: Redis, keys: Keys, memory: EndedMemory) -> None:
        self._client: Any = client
        self._keys = keys
        self._memory = memory
        self._place_script = client.register_script(text_of("find/place.lua"))

    def find(self, message_id: str, accounts: Sequence[str]) -> tuple[list[Place], Looked]:
        """Return every place of the event, the furthest along its way first, and how far this looked."""
        sought, looked, places = Sought(message_id), Looked(accounts), list[Place]()
        server = self._server()
        otps = [place for account in accounts for place in self._look_for_otp(account, sought, looked)]
        while not places and looked.looks < 2:
            looked.looks += 1
            looked.taken = looked.dead = 0
            for account in accounts:
                places += self._look(account, sought, looked)
        looked.interrupted = self._server() != server
        return [*places, *otps[::-1]], looked

    def _server(self) -> str:
        """Return the id of the server's process: cursors and places of one mean nothing to another."""
        return str(self._client.info("server")["run_id"])

    def _look(self, account: str, sought: Sought, looked: Looked) -> list[Place]:
        waiting = list[WaitingPlace]()
        if looked.looks == 1:  # no event goes back to its queue
            waiting = self._guarded(self._waiting(account, sought, looked), looked)
        tags = dict.fromkeys(self._guarded(self._taken(account, sought, looked), looked))
        tags |= dict.fromkeys(self._guarded(self._dead(account, sought, looked), looked))
        found: list[Place] = []
        ended: list[Place] = []
        for tag in tags:
            place = self._place(account, tag, looked)
            (ended if isinstance(place, EndedPlace) else found).append(place)
        delivered: list[Place] = self._guarded(self._delivered(account, sought), looked)
        if not delivered:
            found += ended
        known = {_raw(place) for place in found}
        still = [one for one in waiting if one.raw not in known]
        if delivered or found:
            still = [one for one in still if self._still_waits(one)]
        return [*delivered, *found[::-1], *still]

    def _look_for_otp(self, account: str, sought: Sought, looked: Looked) -> list[OtpPlace]:
        """Return what is known of its OTP, in the order in which it gets there, so that one that moves is met."""
        notices = dict.fromkeys(self._guarded(self._notices(account, sought, looked), looked))
        found = self._guarded(self._open_otps(account, sought), looked)
        closed = self._guarded(self._memory.recall_closed(account, sought.message_id), looked)
        return [*notices, *(closed or found)]

    def _notices(self, account: str, sought: Sought, looked: Looked) -> Iterator[OtpPlace]:
        seen = 0
        for start, page in self._pages(self._keys.notices(account)):
            seen = start + len(page)
            for raw in page:
                if notice := notice_of(account, sought.message_id, raw):
                    yield notice
        looked.notices += seen

    def _open_otps(self, account: str, sought: Sought) -> Iterator[OtpPlace]:
        for key, kind in (
            (self._keys.early_otps(account), EarlyOtp),
            (self._keys.open_otps(account), OpenOtp),
        ):
            with naming(key):
                score = self._client.zscore(key, sought.message_id)
            if score is not None:
                yield kind.read(account, score)

    def _guarded(self, places: Iterable[Any], looked: Looked) -> list[Any]:
        """Return the places; note a key that can't be read."""
        found: list[Any] = []
        try:
            found.extend(places)
        except ResponseError as error:
            _note(error, looked)
        return found

    def _waiting(self, account: str, sought: Sought, looked: Looked) -> Iterator[WaitingPlace]:
        """Yield it from the queue. New messages come in front of the pages read, and workers take from behind them."""
        for key in self._keys.ready(account):
            seen = 0
            for start, page in self._pages(key):
                seen = start + len(page)
                if sought.may_be_in(b"\n".join(page)):
                    for place, raw in enumerate(page, start):
                        if sought.is_in(raw):
                            yield WaitingPlace(account, max(0, self._client.llen(key) - 1 - place), raw)
            looked.waiting += seen

    def _pages(self, key: str) -> Iterator[tuple[int, list[bytes]]]:
        """Yield a list in pages, each with the place of its first; they overlap, as some may move to the front."""
        start, size = 0, FIRST
        while page := self._range(key, start, start + size - 1):
            yield start, page
            if len(page) < size:
                break
            start += len(page) - min(SEARCHED_AT_ONCE, len(page) // 4)
            size = min(MOST, _next_size(size, sum(map(len, page)), BYTES))

    def _taken(self, account: str, sought: Sought, looked: Looked) -> Iterator[str]:
        for tag, record in self._fields(self._keys.taken(account)):
            looked.taken += 1
            if sought.may_be_in(record) and sought.is_in(Leased.parse(account, "", record).raw):
                yield tag

    def _dead(self, account: str, sought: Sought, looked: Looked) -> Iterator[str]:
        for tag, record in self._fields(self._keys.dead(account)):
            looked.dead += 1
            if sought.may_be_in(record):
                letter = Letter.parse(account, tag, 0, record, whole=False)
                if sought.message_id in letter.message_ids:
                    yield tag

    def _fields(self, key: str) -> Iterator[tuple[str, bytes]]:
        """Yield the fields of a hash; one that is there all the time comes at least once."""
        cursor, size = None, FIRST
        while cursor != 0:
            with naming(key), _resting():
                cursor, page = self._client.hscan(key, cursor or 0, count=size)
            yield from ((tag.decode(errors="backslashreplace"), record) for tag, record in page.items())
            size = min(HASHED, _next_size(size, sum(map(len, page.values())), HASHED_BYTES))

    def _range(self, key: str, start: int, end: int) -> list[bytes]:
        with naming(key), _resting():
            return cast("list[bytes]", self._client.lrange(key, start, end))

    def _place(self, account: str, tag: str, looked: Looked) -> Place:
        arguments: Arguments = [self._keys.prefix, account, tag, LONGEST]
        try:
            reply = cast("list[bytes]", self._place_script([], arguments))
        except ResponseError as error:
            _note(error, looked)
            return UnclearPlace(account, tag)
        if not reply:
            return EndedPlace(account, tag)
        kind, where, record = reply[0].decode(), text(reply[1]), reply[2]
        if kind == "dead":
            letter = Letter.parse(
                account,
                tag,
                integer(where) or 0,
                record,
                whole=True,
                waits=reply[3] == b"1",
                length=int(reply[4]),
            )
            return DeadPlace(account, letter)
        leased = Leased.parse(account, tag, record)
        if kind == "leased":
            return TakenPlace(account, leased, worker=where)
        return TakenPlace(account, leased, due_ms=(number(where) or 0.0) % LOW, alone=kind == "suspects")

    def _delivered(self, account: str, sought: Sought) -> Iterator[DeliveredPlace]:
        for one in self._memory.recall(account, sought.message_id):
            yield DeliveredPlace(account, one.from_ms, one.until_ms, one.verified)

    def _still_waits(self, one: WaitingPlace) -> bool:
        """Return whether it may wait still; only near the end of its list can a worker have taken it meanwhile."""
        if one.before >= MOST:
            return True
        return any(one.raw in self._range(key, -1 - one.before, -1) for key in self._keys.ready(one.account))


@contextmanager
def _resting() -> Generator[None]:
    """Rest after a page for as long as it took."""
    began = time.monotonic()
    yield
    time.sleep(min(LONGEST_REST, time.monotonic() - began))


def _note(error: ResponseError, looked: Looked) -> None:
    """Note that a key can't be read; a missing right is raised, because it ends the look."""
    if is_denied(error):
        raise error
    if str(error) not in looked.faults:
        looked.faults.append(str(error))


def _raw(place: Place) -> bytes:
    match place:
        case TakenPlace():
            return place.leased.raw
        case DeadPlace():
            return place.letter.raw or b""
        case _:
            return b""


def _next_size(size: int, found: int, meant: int) -> int:
    """Return how many to read next, for pages of about `meant` bytes; at most twice as many as before."""
    return max(1, min(2 * size, size * meant // max(1, found)))
