import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from tests.support.wait import coming
from tests.support.wire import Wire
from worker.http.connections import Connections
from worker.http.dial import Place
from worker.http.http1 import HttpConnection

HERE, THERE = Place.of("http://here"), Place.of("https://there:8443")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Dialer:
    """A network where every place answers, after `wait`."""

    wires: list[Wire] = field(default_factory=list[Wire])
    wait: Callable[[], Awaitable[None]] | None = None

    async def connect(self, place: Place, lost: Callable[[HttpConnection], None]) -> HttpConnection:
        """Connect at once, or once the test lets it."""
        del place
        if self.wait is not None:
            await self.wait()
        wire = Wire(lost)
        self.wires.append(wire)
        return wire.connection

    @property
    def open(self) -> int:
        """Return how many connections there are."""
        return sum(not wire.is_closing() for wire in self.wires)


def connections(dialer: Dialer, *, limit: int = 2, timeout: float = 5.0, idle: float = 15.0) -> Connections:
    """Return a pool over that network."""
    return Connections(dialer, limit=limit, timeout=timeout, idle=idle)


async def used(pool: Connections, place: Place = HERE) -> HttpConnection:
    """Take a connection."""
    return pool.kept(place) or await pool.new(place)


async def turns() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_last_one_given_back_is_the_next_one_taken() -> None:
    """So those that are not needed stay idle, and end."""
    dialer = Dialer()
    pool = connections(dialer)
    first, second = await used(pool), await used(pool)
    pool.give_back(HERE, first)
    pool.give_back(HERE, second)
    assert await used(pool) is second
    assert await used(pool) is first
    await pool.close()


async def test_who_came_first_is_served_first() -> None:
    """A newcomer does not overtake those who wait, and who gave up is passed by."""
    dialer = Dialer()
    pool = connections(dialer, limit=1)
    held = await used(pool)
    waiting = [asyncio.create_task(used(pool)) for _ in range(4)]
    await turns()
    waiting[1].cancel()
    await turns()
    for task in (waiting[0], waiting[2], waiting[3]):
        pool.give_back(HERE, held)
        assert pool.kept(HERE) is None
        assert await task is held
    pool.give_back(HERE, held)
    assert pool.kept(HERE) is held
    await pool.close()


async def test_a_turn_that_comes_as_its_taker_gives_up_is_passed_on() -> None:
    """No connection is lost to who is gone."""
    pool = connections(Dialer(), limit=1)
    held = await used(pool)
    first, second = asyncio.create_task(used(pool)), asyncio.create_task(used(pool))
    await turns()
    pool.give_back(HERE, held)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        pool.give_back(HERE, await first)  # it may have had it already
    assert await asyncio.wait_for(second, 5.0) is held
    await pool.close()


async def test_who_waits_too_long_for_a_turn_gives_up() -> None:
    """The bound on connecting holds for the wait, too; the connection in use is not lost by it."""
    pool = connections(Dialer(), limit=1, timeout=0.05)
    held = await used(pool)
    with pytest.raises(TimeoutError):
        await used(pool)
    pool.give_back(HERE, held)
    assert pool.kept(HERE) is held
    await pool.close()


async def test_a_place_that_is_not_reached_takes_no_turn_away() -> None:
    """After however many failures as many connections may be open as before."""

    async def refuse() -> None:
        raise ConnectionRefusedError

    async def hang() -> None:
        await asyncio.Event().wait()

    dialer = Dialer(wait=refuse)
    pool = connections(dialer, limit=1, timeout=0.05)
    for wait, error in ((refuse, ConnectionRefusedError), (hang, TimeoutError)):
        dialer.wait = wait
        for _ in range(3):
            with pytest.raises(error):
                await used(pool)
    dialer.wait = None
    assert (await used(pool)).reusable
    await pool.close()


async def test_what_is_kept_counts_too() -> None:
    """Another place's idle connection makes room, the one that was idle for longest; one in use does not."""
    dialer = Dialer()
    pool = connections(dialer, limit=3)
    first, second = await used(pool), await used(pool)
    pool.give_back(HERE, first)
    pool.give_back(HERE, second)
    await used(pool, THERE)
    assert dialer.open == 3
    await used(pool, THERE)
    assert dialer.open == 3
    assert not first.reusable
    assert await used(pool) is second
    await pool.close()
    assert dialer.open == 0


async def test_what_is_idle_for_too_long_is_ended() -> None:
    """One timer ends them all; one in use stays."""
    dialer = Dialer()
    pool = connections(dialer, limit=3, idle=0.05)
    first, second, _ = await used(pool), await used(pool), await used(pool)
    pool.give_back(HERE, first)
    pool.give_back(HERE, second)
    await coming(lambda: not first.reusable)
    await coming(lambda: not second.reusable)
    assert dialer.open == 1
    await pool.close()


async def test_what_the_server_closed_is_not_taken() -> None:
    """An idle connection that ended, or where something came, makes room for a new one."""
    dialer = Dialer()
    pool = connections(dialer)
    ended, spoke = await used(pool), await used(pool)
    pool.give_back(HERE, ended)
    pool.give_back(HERE, spoke)
    dialer.wires[0].end()
    dialer.wires[1].connection.data_received(OK)
    taken = await used(pool)
    assert taken not in {ended, spoke}
    await pool.close()


async def test_what_came_to_no_right_end_is_not_kept() -> None:
    """A request that was given up leaves a connection where its answer is still to come."""
    dialer = Dialer()
    pool = connections(dialer)
    connection = await used(pool)
    dialer.wires[0].ask()
    pool.give_back(HERE, connection)
    assert dialer.open == 0
    assert await used(pool) is not connection
    await pool.close()


async def test_a_close_waits_until_all_are_closed() -> None:
    """Those in use and those kept; a request under way is in doubt."""
    dialer = Dialer()
    pool = connections(dialer)
    kept, _ = await used(pool), await used(pool)
    pool.give_back(HERE, kept)
    promised = dialer.wires[1].ask()
    await pool.close()
    assert [wire.lost for wire in dialer.wires] == [1, 1]
    assert "the worker" in str(promised.exception())
    await pool.close()
