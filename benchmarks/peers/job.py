"""What every peer does with an event: sign it, post it with aiohttp, read the answer."""

from __future__ import annotations

import os
import time
from functools import cache

import aiohttp

from benchmarks.accounts import APP, SECRET, Account
from otpreport import Verification
from providers.base import Answer, Result
from providers.tencent import Tencent, TencentOptions

REDIS = os.environ.get("BENCHMARK_REDIS", "redis://127.0.0.1:1")
ENDPOINT = os.environ.get("BENCHMARK_ENDPOINT", "http://127.0.0.1:1")
CONCURRENCY = 200
"""At which most of them are fastest here."""


@cache
def _tencent() -> Tencent:
    options = {"secret_id": Account().key, "secret_key": SECRET, "sdk_app_id": APP}
    return Tencent(ENDPOINT, TencentOptions.model_validate(options))


@cache
def _session() -> aiohttp.ClientSession:
    """Return the process' session; it has to be asked for in the loop that uses it."""
    connector = aiohttp.TCPConnector(limit=400)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def report(event: dict[str, object]) -> None:
    """Report one event; RuntimeError with the provider's code when it is not delivered."""
    verification = Verification.from_wire(event)
    signed = _tencent().request(verification, now=time.time(), nonce="")
    async with _session().post(signed.url, headers=dict(signed.headers), data=signed.body) as response:
        answer = Answer(response.status, response.headers, await response.read())
    outcome = _tencent().outcome(answer, verification)
    if outcome.result is not Result.DELIVERED:
        raise RuntimeError(outcome.code)
