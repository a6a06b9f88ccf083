"""A connection to one of several addresses, whichever answers first (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Iterable, Sequence

HEAD_START = 0.25
"""Seconds that an address is tried alone before the next one is tried beside it."""

Address = tuple[int, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]
"""A family and where it is there."""

_Found = tuple[socket.socket, Address]


async def connected(addresses: Sequence[Address], source: str) -> _Found:
    """Connect to whichever address answers first, and return which; each has a head start before the one after it.

    `source` is this machine's address to connect from; empty: the system's choice.
    """
    trying, faults = set[asyncio.Task[_Found]](), list[BaseException]()
    left = deque(_usable(addresses, source))
    while left or trying:
        if left:
            trying.add(asyncio.create_task(_connect(left.popleft(), source)))
        try:
            ended, trying = await asyncio.wait(
                trying, timeout=HEAD_START if left else None, return_when=asyncio.FIRST_COMPLETED
            )
        except BaseException:
            _drop(trying)
            raise
        faults += [fault for attempt in ended if (fault := attempt.exception()) is not None]
        won = [attempt for attempt in ended if attempt.exception() is None]
        if won:
            _drop({*won[1:], *trying})
            return won[0].result()
    if len(faults) == 1:
        raise faults[0]
    raise ConnectionError(", ".join(dict.fromkeys(map(str, faults))))


def _usable(addresses: Sequence[Address], source: str) -> Sequence[Address]:
    """Return the addresses that can be reached from this source address: those of its family."""
    if not source:
        return addresses
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    usable = [address for address in addresses if address[0] == family]
    if not usable:
        raise ConnectionError(f"no address is of the family of source_address {source}")
    return usable


async def _connect(address: Address, source: str) -> _Found:
    family, where = address
    trying = socket.socket(family, socket.SOCK_STREAM)
    try:
        trying.setblocking(False)
        trying.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            trying.bind((source, 0))
        await asyncio.get_running_loop().sock_connect(trying, where)
    except BaseException:
        trying.close()
        raise
    return trying, address


def _drop(attempts: Iterable[asyncio.Task[_Found]]) -> None:
    for attempt in attempts:
        attempt.cancel()
        attempt.add_done_callback(_close)


def _close(attempt: asyncio.Task[_Found]) -> None:
    """Close a connection that came too late, and retrieve an error that no caller waits for."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result()[0].close()
