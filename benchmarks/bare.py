"""The bare floor: sign, write, parse the answer; asyncio.Protocol and httptools, no client, no task for a report.

    python -m benchmarks.bare URL RATE

RATE is reports a second; 0: as many as go, 400 at a time.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import httptools
import uvloop

from benchmarks.accounts import APP, SECRET, Account
from benchmarks.events import events
from benchmarks.floor import CONCURRENCY, STEP
from otpreport import Verification
from providers.base import Answer, Result
from providers.tencent import Tencent, TencentOptions


class Exchange(asyncio.Protocol):
    """One connection: a report, its answer, the next report."""

    def __init__(self, floor: Bare) -> None:
        self._floor = floor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be free for a report."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is none by its class
        self._parser = httptools.HttpResponseParser(self)
        self._floor.free.append(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End everything: a floor has no faults."""
        self._floor.fail(exc or ConnectionResetError())

    def send(self, event: Verification) -> None:
        """Write the report of an event."""
        self._event = event
        self._status, self._headers, self._body = 0, dict[str, str](), b""
        self._transport.write(self._floor.written(event))

    def data_received(self, data: bytes) -> None:
        """Parse received bytes."""
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self._headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Judge the answer and be free for the next."""
        self._floor.judge(Answer(self._parser.get_status_code(), self._headers, self._body), self._event)
        self._floor.free.append(self)


class Bare:
    """Send reports of new events, at most 400 at a time."""

    def __init__(self, url: str) -> None:
        options = {"secret_id": Account().key, "secret_key": SECRET, "sdk_app_id": APP}
        self._tencent = Tencent(url, TencentOptions.model_validate(options))
        self._place = urlsplit(url)
        self._address = self._place.hostname or "", self._place.port or 80
        self._events: Iterator[Verification] = events()
        self.free: list[Exchange] = []

    async def run(self, rate: int) -> None:
        """Send for ever; the first report that fails ends it."""
        loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = loop.create_future()
        for _ in range(CONCURRENCY):
            await loop.create_connection(lambda: Exchange(self), *self._address)
        start, sent = time.monotonic(), 0
        while not self._failed.done():
            due = sent + len(self.free)
            if rate:
                due = min(due, int((time.monotonic() - start) * rate))
            for _ in range(due - sent):
                self.free.pop().send(next(self._events))
            sent = max(sent, due)
            await asyncio.sleep(STEP)
        await self._failed

    def written(self, event: Verification) -> bytes:
        """Return the signed request as it goes over the wire."""
        signed = self._tencent.request(event, now=time.time(), nonce="")
        lines = [b"POST / HTTP/1.1", b"Host: " + self._place.netloc.encode()]
        lines += [f"{name}: {value}".encode() for name, value in signed.headers if name.lower() != "host"]
        lines.append(b"Content-Length: %d" % len(signed.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + signed.body

    def judge(self, answer: Answer, event: Verification) -> None:
        """End everything at the first report that is not delivered."""
        outcome = self._tencent.outcome(answer, event)
        if outcome.result is not Result.DELIVERED:
            self.fail(RuntimeError(outcome.code))

    def fail(self, error: Exception) -> None:
        """End with this error."""
        if not self._failed.done():
            self._failed.set_exception(error)


if __name__ == "__main__":
    uvloop.run(Bare(sys.argv[1]).run(int(sys.argv[2])))
