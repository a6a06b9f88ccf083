"""The floor: an asyncio loop that signs and posts, and does nothing else.

    python -m benchmarks.floor URL RATE

RATE is reports a second; 0: as many as go, 400 at a time.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time

import aiohttp
import uvloop

from benchmarks.accounts import APP, SECRET, Account
from benchmarks.events import events
from otpreport import Verification
from providers.base import Answer, Result
from providers.tencent import Tencent, TencentOptions

CONCURRENCY = 400
STEP = 0.005


class Floor:
    """Send reports of new events, at most 400 at a time."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        options = {"secret_id": Account().key, "secret_key": SECRET, "sdk_app_id": APP}
        self._tencent = Tencent(url, TencentOptions.model_validate(options))
        self._session = session
        self._events = events()
        self._free = asyncio.Semaphore(CONCURRENCY)

    async def run(self, rate: int) -> None:
        """Send for ever; the first report that fails ends it."""
        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for sent in itertools.count():
                while rate and sent > (time.monotonic() - start) * rate:  # noqa: ASYNC110 - the clock says when
                    await asyncio.sleep(STEP)
                await self._free.acquire()
                group.create_task(self._one())

    async def _one(self) -> None:
        try:
            await self._report(next(self._events))
        finally:
            self._free.release()

    async def _report(self, event: Verification) -> None:
        signed = self._tencent.request(event, now=time.time(), nonce="")
        async with self._session.post(signed.url, headers=dict(signed.headers), data=signed.body) as response:
            answer = Answer(response.status, response.headers, await response.read())
        outcome = self._tencent.outcome(answer, event)
        if outcome.result is not Result.DELIVERED:
            raise RuntimeError(outcome.code)


async def main(url: str, rate: int) -> None:
    """Send until SIGTERM."""
    connector = aiohttp.TCPConnector(limit=CONCURRENCY)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        await Floor(url, session).run(rate)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
