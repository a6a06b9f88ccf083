"""The worker's small HTTP server: metrics, liveness, readiness."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

TRIES = 100
"""How many ports are tried from the configured one up."""

STOPPING = 1.0
"""Seconds that a request which is not answered yet may delay the stop; aiohttp waits that long up to twice."""

Ready = Callable[[], str | None]
"""Returns None when ready, else what is wrong."""


class HealthServer:
    """Serve `/metrics`, `/healthz` (the loop answers) and `/readyz` (work is being done)."""

    def __init__(
        self,
        registry: CollectorRegistry,
        ready: Ready,
        before_scrape: Callable[[], None],
        routes: Iterable[web.AbstractRouteDef] = (),
    ) -> None:
        """Serve `routes`, too."""
        self._registry = registry
        self._ready = ready
        self._before_scrape = before_scrape
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.add_routes(routes)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOPPING)

    async def start(self, host: str, port: int) -> int:
        """Listen on `port`, or on the next one that is free (0: on any); return it."""
        await self._runner.setup()
        for candidate in range(port, port + TRIES) if port else (0,):
            site = web.TCPSite(self._runner, host, candidate)
            try:
                await site.start()
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                bound: int = self._runner.addresses[-1][1]
                return bound
        raise OSError(errno.EADDRINUSE, f"no free port from {port} to {port + TRIES - 1}")

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _metrics(self, _: web.Request) -> web.Response:
        self._before_scrape()
        # 2 ms of the loop an account, and from 10 ms on a slot is missed; a thread costs it 5 ms at a time
        text = await asyncio.to_thread(generate_latest, self._registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        fault = self._ready()
        return web.Response(text=f"{fault or 'ready'}\n", status=503 if fault else 200)
