"""A peer's own messages, recorded once and played back, so that no producer runs while its worker is measured.

The producer marks in Redis where each event begins; Redis' append-only file, cut at the marks, is what it wrote.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import redis.asyncio

from benchmarks.events import events

MARK = "benchmark:mark"
STEP = 0.01

Events = AsyncIterator[dict[str, object]]


async def numbered(count: int) -> Events:
    """Yield new events, each after a mark in Redis."""
    untyped: Any = redis.asyncio.Redis
    client = untyped.from_url(os.environ["BENCHMARK_REDIS"])
    for number, event in zip(range(count), events(), strict=False):
        await client.set(MARK, number)
        yield event.to_wire()
    await client.set(MARK, count)
    await client.aclose()


def pieces(log: bytes) -> list[bytes]:
    """Return the commands of each event, out of an append-only file; what comes before the first mark goes with it."""
    found: list[bytes] = []
    piece: list[bytes] = []
    begun = False
    for words, raw in _commands(log):
        if words[0].upper() == b"SET" and words[1] == MARK.encode():
            if begun:
                found.append(b"".join(piece))
                piece = []
            begun = True
        elif words[0].upper() != b"SELECT":
            piece.append(raw)
    return found


def _commands(log: bytes) -> Iterator[tuple[list[bytes], bytes]]:
    at = 0
    while at < len(log):
        start = at
        end = log.index(b"\r\n", at)
        count, at = int(log[at + 1 : end]), end + 2
        words: list[bytes] = []
        for _ in range(count):
            end = log.index(b"\r\n", at)
            length, at = int(log[at + 1 : end]), end + 2
            words.append(log[at : at + length])
            at += length + 2
        yield words, log[start:at]


def append_only_file(folder: Path) -> bytes:
    """Return what Redis has written since it started."""
    return b"".join(part.read_bytes() for part in sorted((folder / "appendonlydir").glob("*.incr.aof")))


class Playback:
    """Write recorded events into Redis at a steady rate from `__enter__` to `__exit__`, in steps of 10 ms."""

    def __init__(self, port: int, recorded: Sequence[bytes], rate: float) -> None:
        self._recorded = recorded
        self._rate = rate
        self.sent = 0
        """How many events were written."""
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._done = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._write, self._read)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._socket.close()

    def _write(self) -> None:
        start = time.monotonic()
        while not self._done.wait(STEP) and self.sent < len(self._recorded):
            due = int(min(len(self._recorded), (time.monotonic() - start) * self._rate))
            try:
                self._socket.sendall(b"".join(self._recorded[self.sent : due]))
            except OSError:
                if self._done.is_set():
                    return
                raise
            self.sent = due

    def _read(self) -> None:
        while self._socket.recv(65536):
            pass
