"""The status page that the exporter serves: what `status` shows, to look at and not to touch."""

from __future__ import annotations

from collections.abc import Callable, Container, Coroutine, Mapping
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from worker.fleet.hosts import is_ours

FILES = Path(__file__).with_name("web")
PATHS = {"/": "status.html", "/status": "status.html", "/status.css": "status.css", "/status.js": "status.js"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}

HEADERS = {
    # nothing from elsewhere, nothing inline, and no text that becomes markup or script
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Handler = Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]


class StatusPage:
    """Serve the page and, as `/status.json`, the last status; a request never reads Redis."""

    def __init__(self, allowed_hosts: Container[str] = ()) -> None:
        """Serve it under these names, besides those that no stranger can own."""
        self._allowed = allowed_hosts
        self._json = b"{}"
        self._status = 503

    def show(self, record: Mapping[str, object], *, up: bool) -> None:
        """Serve this record from now on; `up`: it has figures, else only the reason why there are none."""
        self._json = orjson.dumps(record)
        self._status = 200 if up else 503

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve: GET alone, any other method is answered with 405."""
        files = {path: _file(FILES / name) for path, name in PATHS.items()}
        served = files | {"/status.json": self._serve}
        return [web.get(path, self._guarded(handler), allow_head=False) for path, handler in served.items()]

    def _guarded(self, handler: Handler) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            if not is_ours(request.headers.get("Host", ""), self._allowed):
                text = "this page is not served under that name: see OTPREPORT_ALLOWED_HOSTS\n"
                return web.Response(status=421, text=text, headers=HEADERS)
            return await handler(request)

        return serve

    async def _serve(self, _: web.Request) -> web.Response:
        return web.Response(
            body=self._json, status=self._status, content_type="application/json", headers=HEADERS
        )


def _file(path: Path) -> Handler:
    """Return what serves a file, read once."""
    body, content_type = path.read_bytes(), TYPES[path.suffix]

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=HEADERS)

    return serve
