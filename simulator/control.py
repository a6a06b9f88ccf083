"""The control API under /-/: arrivals, the plan, and expected events that never came.

GET /-/healthz
GET /-/summary   the figures, per key and in total (summary.py)
GET /-/ledger    every arrival, a JSON line each; ?from=0&limit=1000 for a part; `probe`: it names no message, as
                 those of `check --probe`
GET /-/seconds   arrivals by UNIX second and key
GET /-/twice     reports taken more than once
POST /-/expect   {"ids": [...], "key": null} -> {"missing": [...], "never_arrived": n, "unexpected": n};
                 missing: never taken; unexpected: other ids that were taken
POST /-/reset    empty ledger, maxima and rate windows; the plan stays
GET, PUT, PATCH /-/plan   show, replace, or replace some fields of the plan (plan.py); `from_s` and `to_s`
                 count from the last change of the faults
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qs

import orjson
from pydantic import ConfigDict, TypeAdapter

from simulator.cloud import Cloud
from simulator.plan import parse_plan, plan_data
from simulator.reply import HTML, NOT_FOUND, Reply
from simulator.request import Request
from simulator.summary import summarise, twice
from simulator.validation import InvalidSettingsError, validate

_ROWS_AT_A_TIME = 500  # between two looks at the provider calls that wait


@dataclass(frozen=True, slots=True)
class Expectation:
    """The message ids that should have been taken, of one key or of all."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    ids: tuple[str, ...]
    key: str | None = None


_EXPECTATION = TypeAdapter(Expectation)
_CHANGES = TypeAdapter(dict[str, object])

Answer = Callable[[Request], Awaitable[Reply]]


class Control:
    """Answer requests of the control API, in pieces small enough not to disturb the provider calls."""

    def __init__(
        self, cloud: Cloud, connections: Callable[[], dict[str, int]], reset: Callable[[], None]
    ) -> None:
        self._cloud = cloud
        self._connections = connections
        self._reset = reset
        self._routes: dict[tuple[bytes, bytes], Answer] = {
            (b"GET", b"/-/healthz"): self._health,
            (b"GET", b"/-/ledger"): self._ledger,
            (b"GET", b"/-/plan"): self._plan,
            (b"GET", b"/-/seconds"): self._seconds,
            (b"GET", b"/-/summary"): self._summary,
            (b"GET", b"/-/twice"): self._twice,
            (b"PATCH", b"/-/plan"): self._patch_plan,
            (b"POST", b"/-/expect"): self._expect,
            (b"POST", b"/-/reset"): self._start_over,
            (b"PUT", b"/-/plan"): self._put_plan,
        }

    async def answer(self, request: Request) -> Reply:
        """Return the answer: 404 for an unknown path, 400 with `faults` for an invalid request."""
        route = self._routes.get((request.method, request.target.partition(b"?")[0]))
        if route is None:
            return NOT_FOUND
        try:
            return await route(request)
        except InvalidSettingsError as error:
            return _json({"faults": list(error.faults)}, status=400)
        except ValueError as error:
            return _json({"faults": [str(error)]}, status=400)

    async def _health(self, _: Request) -> Reply:
        return Reply(200, b"ok\n", HTML)

    async def _summary(self, _: Request) -> Reply:
        await self._settle()
        return _json(summarise(self._cloud, self._connections()))

    async def _seconds(self, _: Request) -> Reply:
        await self._settle()
        return _json(
            [
                {
                    "provider": book.provider,
                    "key": book.key,
                    "seconds": sorted(book.judge.seconds.items()),
                }
                for book in self._cloud.ledger.books
            ]
        )

    async def _twice(self, _: Request) -> Reply:
        return _json([entry for book in self._cloud.ledger.books for entry in twice(book)])

    async def _ledger(self, request: Request) -> Reply:
        start, limit = _page(request)
        ledger = self._cloud.ledger
        stop = min(len(ledger), start + limit)
        lines = bytearray()
        for first in range(start, stop, _ROWS_AT_A_TIME):
            for row in ledger.rows(first, min(stop, first + _ROWS_AT_A_TIME)):
                lines += orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            await asyncio.sleep(0)
        return Reply(200, bytes(lines), b"application/x-ndjson")

    async def _expect(self, request: Request) -> Reply:
        expected = validate(_EXPECTATION, orjson.loads(request.body))
        ids = set(expected.ids)
        books = [book for book in self._cloud.ledger.books if expected.key in {None, book.key}]
        taken = _union(book.taken_ids() for book in books)
        missing = ids - taken
        return _json(
            {
                "missing": sorted(missing),
                "never_arrived": sum(not any(name in book.ids for book in books) for name in missing),
                "unexpected": len(taken - ids),
            }
        )

    async def _start_over(self, _: Request) -> Reply:
        self._reset()
        return _json({})

    async def _plan(self, _: Request) -> Reply:
        return _json(plan_data(self._cloud.plan))

    async def _put_plan(self, request: Request) -> Reply:
        self._cloud.set_plan(parse_plan(orjson.loads(request.body)))
        return await self._plan(request)

    async def _patch_plan(self, request: Request) -> Reply:
        changes = validate(_CHANGES, orjson.loads(request.body), at="plan")
        plan = parse_plan(plan_data(self._cloud.plan) | changes)
        self._cloud.set_plan(plan, restart="faults" in changes)
        return await self._plan(request)

    async def _settle(self) -> None:
        await self._cloud.lag.settled()
        self._cloud.review()


def _json(data: object, *, status: int = 200) -> Reply:
    return Reply(status, orjson.dumps(data, option=orjson.OPT_APPEND_NEWLINE))


def _page(request: Request) -> tuple[int, int]:
    query = parse_qs(request.target.partition(b"?")[2].decode("latin-1"))
    start, limit = (
        int(query.get(name, [default])[0]) for name, default in (("from", "0"), ("limit", "1000000000"))
    )
    if start < 0 or limit < 0:
        raise ValueError("from and limit must not be negative")
    return start, limit


def _union(sets: Iterable[set[str]]) -> set[str]:
    union: set[str] = set()
    return union.union(*sets)
