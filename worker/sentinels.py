"""Where the master is, by the sentinels' word."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

Place = tuple[str, int]

ANSWER_TTL = 1.0
"""Seconds for which an answer is valid: a replaced master may live on, and take writes that are lost."""


class Sentinels:
    """Ask one sentinel after the other, over at most one connection each; the last that knew comes first."""

    def __init__(
        self, hosts: Sequence[Place], service: str, options: Mapping[str, Any], *, fresh: float = ANSWER_TTL
    ) -> None:
        self._service = service
        self._clients = {f"{host}:{port}": Redis(host=host, port=port, **options) for host, port in hosts}
        self._lock = asyncio.Lock()
        self._master: Place | None = None
        self._fresh = fresh
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def known_master(self) -> Place | None:
        """Host and port by the last answer; an old one is refreshed in the background."""
        now = time.monotonic()
        if now - self._asked > self._fresh and (self._asking is None or self._asking.done()):
            self._asked = now
            self._asking = asyncio.create_task(self._refresh())
        return self._master

    async def find_master(self) -> Place:
        """Return host and port; redis' ConnectionError, with what each sentinel said, when none knows."""
        async with self._lock:
            errors: list[str] = []
            for name, client in list(self._clients.items()):
                try:
                    self._master = await self._ask(client)
                except RedisError as error:
                    errors.append(f"{name}: {error}")
                else:
                    self._clients = {name: client, **self._clients}
                    self._asked = time.monotonic()
                    return self._master
        why = "; ".join(errors)
        raise RedisConnectionError(f"no sentinel knows a living master {self._service!r} ({why})")

    async def close(self) -> None:
        """Close the connections; the next call opens them again."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        for client in self._clients.values():
            await client.connection_pool.disconnect()

    async def _refresh(self) -> None:
        """Ask again; without an answer the master is still the one that was."""
        with contextlib.suppress(RedisError, OSError):
            await self.find_master()

    async def _ask(self, client: Redis) -> Place:
        untyped: Any = client
        masters: dict[str, dict[str, Any]] = await untyped.sentinel_masters()
        state = masters.get(self._service)
        if state is None:
            raise RedisError("it watches no such master")
        if not state["is_master"] or state["is_sdown"] or state["is_odown"]:
            raise RedisError(f"{state['ip']}:{state['port']} is down")
        return state["ip"], state["port"]
