"""The status page over HTTP, as a browser and a script meet it."""

import asyncio
import contextlib
import http.client
import http.server
import itertools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from config.settings import load
from tests.support.command import ROOT, SECRET, call, environment
from tests.support.dead import Undertaker
from worker.embedded import EmbeddedValkey
from worker.fleet.exporter import Exporter
from worker.fleet.page import PATHS

HOSTILE = "<img src=x onerror=document.title='owned'></td><script>document.title='owned'</script>\u202e"
FILES = ROOT / "worker" / "fleet" / "web"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the exporter answered."""

    status: int
    headers: dict[str, str]
    text: str


class Site:
    """An exporter's HTTP side."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def get(self, path: str, method: str = "GET") -> Answer:
        """Return the answer to a request."""
        return await asyncio.to_thread(self._ask, path, method)

    async def json(self) -> Any:
        """Return what the page fetches."""
        return json.loads((await self.get("/status.json")).text)

    async def under(self, host: str, path: str) -> Answer:
        """Ask as a browser does that found this machine under a name."""
        return await asyncio.to_thread(self._ask, path, "GET", {"Host": host})

    def _ask(self, path: str, method: str, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read().decode())
        finally:
            connection.close()


@pytest.fixture
async def site(valkey_server: EmbeddedValkey) -> AsyncIterator[Site]:
    """Yield the site of an exporter that looks often."""
    names = {
        "OTPREPORT_METRICS_PORT": "0",
        "OTPREPORT_ALLOWED_HOSTS": "status.example.com, Other.example.com",
    }
    subject = Exporter(load(environment(valkey_server.url, **names)), interval=0.2)
    port = await subject.start()
    running = asyncio.create_task(subject.run())
    yield Site(port)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await subject.stop()


@pytest.mark.parametrize("path", [*PATHS, "/status.json"])
async def test_it_is_closed_but_for_reading(site: Site, path: str) -> None:
    """GET alone; nothing is loaded from elsewhere, framed, cached or taken for another type."""
    answer = await site.get(path)
    assert answer.status == 200
    assert SECRET not in answer.text
    policy = dict(re.findall(r"([a-z-]+) ([^;]+)", answer.headers["Content-Security-Policy"]))
    assert policy["default-src"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert {policy[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert (answer.headers["X-Content-Type-Options"], answer.headers["Cache-Control"]) == (
        "nosniff",
        "no-store",
    )
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"):
        assert (await site.get(path, method)).status == 405


@pytest.mark.parametrize("path", [*PATHS, "/status.json"])
async def test_a_name_that_was_made_to_point_here_shows_nothing(site: Site, path: str) -> None:
    """The page is for names that no page of elsewhere can own; metrics and probes are for whoever scrapes."""
    answer = await site.under("rebound.example.net:9807", path)
    assert (answer.status, "redis" in answer.text) == (421, False)
    for host in ("other.example.com", "localhost:1", "10.0.0.1", "exporter"):
        assert (await site.under(host, path)).status == 200
    for open_to_all in ("/metrics", "/healthz", "/readyz"):
        assert (await site.under("rebound.example.net", open_to_all)).status == 200


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/no-such-page"])
async def test_no_answer_tells_what_serves_it(site: Site, path: str) -> None:
    """No version for whoever looks for a hole, and no text that a browser may take for another type."""
    answer = await site.get(path)
    assert "Server" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_rest_of_the_exporter_is_where_it_was(site: Site) -> None:
    """Metrics and health keep their places; what is not there is not there."""
    for path, status in (("/metrics", 200), ("/healthz", 200), ("/readyz", 200), ("/status.html", 404)):
        assert (await site.get(path)).status == status
    assert (await site.get("/../worker/fleet/page.py")).status == 404


async def test_it_shows_what_the_command_shows(site: Site, valkey_server: EmbeddedValkey) -> None:
    """One record for both: the same fields, the same figures; the page alone knows a pace."""
    undertaker = Undertaker(valkey_server.port)
    await asyncio.to_thread(undertaker.bury, "tencent", 2)
    await asyncio.to_thread(undertaker.send, "tencent", 1500)
    await coming_true(
        site, lambda found: found["accounts"][0]["ready"] == 1500 and found["accounts"][0]["delivered_trail"]
    )
    page = await site.json()
    command = (await asyncio.to_thread(call, valkey_server.url, "status", "--json")).json
    assert page.keys() == command.keys()
    moving = {"oldest_age_seconds", "delivered_per_second", "delivered_trail", "rate_use"}
    for ours, theirs in zip(page["accounts"], command["accounts"], strict=True):
        assert {name: ours[name] for name in ours if name not in moving} == {
            name: theirs[name] for name in theirs if name not in moving
        }
    assert (page["accounts"][0]["dead"], page["accounts"][0]["dead_last_hour"]) == (2, 2)
    assert (command["accounts"][0]["delivered_per_second"], page["accounts"][0]["delivered_per_second"]) == (
        None,
        0,
    )


async def test_without_redis_it_says_so_and_comes_back(site: Site, valkey_server: EmbeddedValkey) -> None:
    """The page is served, its figures are refused with the reason and since when; no restart is needed."""
    valkey_server.kill()
    await coming_true(site, lambda found: not found["redis_up"])
    answer = await site.get("/status.json")
    found = json.loads(answer.text)
    assert answer.status == 503
    assert "is unreachable" in found["reason"]
    assert found.keys() == {"redis", "redis_up", "at_ms", "reason"}
    await asyncio.sleep(0.5)
    assert (await site.json())["at_ms"] == found["at_ms"]
    assert (await site.get("/")).status == 200
    valkey_server.start()
    await coming_true(site, lambda found: found["redis_up"])


def test_its_script_makes_no_markup() -> None:
    """What comes from Redis is text on the page: by the way it is put there, and by the policy besides."""
    script, page = (FILES / "status.js").read_text(), (FILES / "status.html").read_text()
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|\.on[a-z]+ =", script
    )
    assert not re.search(r"<script(?! src=)|<style|style=| on[a-z]+=|https?://(?!www\.w3\.org)", page)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
async def test_a_browser_shows_hostile_text_as_text(
    site: Site, valkey_server: EmbeddedValkey, tmp_path: Path
) -> None:
    """Names, codes, messages and hosts that are markup stand there to read; the control: the script runs."""
    with redis.Redis(port=valkey_server.port) as client:
        _plant(client)
    await coming_true(site, lambda found: found["worker_list"])
    shown = await asyncio.to_thread(browse, f"http://127.0.0.1:{site.port}/", tmp_path)
    assert "<title>✖ otpreport: degraded</title>" in shown
    assert shown.count("&lt;img src=x onerror=document.title='owned'&gt;") >= 4
    assert '<h2 id="h-notes">Needs attention</h2>' in shown
    assert "<img" not in shown
    assert r"\u{202e}" in shown
    assert "\u202e" not in shown
    unprotected = await asyncio.to_thread(browse, f"data:text/html,{HOSTILE}", tmp_path)
    assert "<title>owned</title>" in unprotected, "the browser runs no script at all"


def _plant(client: redis.Redis) -> None:
    fields = {"state": HOSTILE, "code": HOSTILE, "message": HOSTILE}
    for field, value in fields.items():
        client.hset("otpreport:account:tencent", field, value)
    for field, value in {"at_ms": "1", "class": HOSTILE, "code": HOSTILE, "message": HOSTILE}.items():
        client.hset("otpreport:last-error:tencent", field, value)
    client.hset("otpreport:worker:w", "note", json.dumps({"host": HOSTILE}))
    client.zadd("otpreport:workers", {"w": 9e12, HOSTILE: 9e12})
    client.hset("otpreport:books", f"{HOSTILE.replace(':', '')}:taken", "1")
    client.lpush(f"otpreport.{HOSTILE}", b"x")


# How long somebody has text of a row selected, if at all, and what then is seen: the state there, the mark of old rows.
SELECTIONS = {
    "never": ("", "circuit_open", False),
    "briefly": ("setTimeout(() => getSelection().removeAllRanges(), 13000);", "circuit_open", False),
    "long": (" ", "running", True),
}
SELECT = """
  const rows = document.querySelector("#accounts tbody");
  new MutationObserver((_, seen) => { seen.disconnect(); getSelection().selectAllChildren(rows); %s })
    .observe(rows, { childList: true });
"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("selected", SELECTIONS)
async def test_trouble_is_seen_while_text_is_selected(site: Site, tmp_path: Path, selected: str) -> None:
    """Mood and notes go on; the rows alone stand still, are marked once they are old, and go on after it."""
    first = await site.json()
    later = json.loads(json.dumps(first))
    later["accounts"][0]["state"] = "circuit_open"
    later["notes"] = [{"level": "bad", "text": "tencent has its circuit breaker open"}]
    script, state, old = SELECTIONS[selected]
    with acted(first, later, SELECT % script if script else "") as port:
        shown = await asyncio.to_thread(browse, f"http://127.0.0.1:{port}/status.html", tmp_path, 17_000)
    assert "<title>✖ otpreport: degraded</title>" in shown
    assert "tencent has its circuit breaker open" in shown
    table = re.search(r'<table id="accounts"[^>]*>', shown)
    assert table is not None
    assert ("old" in table[0]) is old
    assert f'class="state {state}"' in shown
    assert ("do not update" in shown) is old


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
async def test_news_alone_needs_no_attention(site: Site, tmp_path: Path) -> None:
    """A healthy fleet's notes, such as a conversion rate, are no trouble, and the heading does not call them so."""
    news = await site.json()
    news["notes"] = [{"level": "info", "text": "tencent: conversion 71 %"}]
    with acted(news, news, "") as port:
        shown = await asyncio.to_thread(browse, f"http://127.0.0.1:{port}/status.html", tmp_path)
    assert "<title>otpreport: healthy</title>" in shown
    assert '<h2 id="h-notes">Notes</h2>' in shown


@contextlib.contextmanager
def acted(first: Any, later: Any, script: str) -> Generator[int]:
    """Serve the page with a script besides, and a fleet that changes after the first look, by 2 s a look."""
    looks = itertools.count()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, text = "text/html", b""
            if self.path == "/status.json":
                look = next(looks)
                record = (later if look else first) | {"at_ms": first["at_ms"] + 2000 * look}
                kind, text = "application/json", json.dumps(record).encode()
            elif self.path == "/act.js":
                kind, text = "text/javascript", script.encode()
            elif (file := FILES / self.path[1:]).is_file():
                kind = {".js": "text/javascript", ".css": "text/css"}.get(file.suffix, kind)
                text = file.read_bytes().replace(b"</head>", b'<script src="act.js" defer></script></head>')
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            """Be silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def browse(url: str, folder: Path, wait_ms: int = 1500) -> str:
    """Return the page as a browser has it after a while."""
    assert CHROMIUM is not None
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-extensions",
        "--disable-background-networking",
        "--no-first-run",
        "--disable-dev-shm-usage",
        f"--virtual-time-budget={wait_ms}",
    ]
    command = [CHROMIUM, *options, f"--user-data-dir={folder / 'profile'}", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


async def coming_true(site: Site, check: Callable[[Any], object]) -> None:
    """Wait until what the page fetches is as `check` has it."""
    async with asyncio.timeout(30):
        while not check(await site.json()):  # noqa: ASYNC110 - it asks over HTTP, nobody here could tell
            await asyncio.sleep(0.05)
