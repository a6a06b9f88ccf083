"""Draw docs/status-watch.svg, and docs/status-page.png where Chromium is: `python -m tests.support.pictures`.

`python -m tests.support.pictures story` draws docs/demo-story.svg, which takes a minute.
"""

from __future__ import annotations

import functools
import io
import math
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
from rich.console import Console

from otpreport.version import VERSION
from tasks.accounts.states import State
from tasks.fleet.pulse import AccountPulse, ErrorSeen, WorkerSeen
from tasks.limiter.rate import Rate
from tasks.tracking.otps import Country, Otps
from tests.support.looks import NOW_MS, Seen, account, look
from worker.cli.board import Canvas
from worker.cli.status import picture
from worker.demo.alarm import Alarm
from worker.demo.processes import Processes
from worker.demo.story import ACCOUNT, play
from worker.demo.story_display import Display
from worker.fleet.page import FILES
from worker.fleet.record import record
from worker.fleet.status import AccountStatus, FleetStatus

DOCS = Path(__file__).parents[2] / "docs"
WIDTH = 134
STORY_WIDTH, STORY_MINUTE = 80, 41
DELIVERED = {"tencent": 4_210_733, "tencent-cn": 301_200, "alibaba": 2_044_519, "alibaba_cn": 95_810}
MINUTE = 60_000
OTPS = Otps(
    "tencent",
    NOW_MS,
    hour={"CN": Country(yes=1310, no=460), "SG": Country(yes=810, no=190), "BR": Country(yes=164, no=236)},
    yesterday={
        "CN": Country(yes=1290, no=480),
        "SG": Country(yes=801, no=199),
        "BR": Country(yes=272, no=128),
    },
)


def fleet() -> FleetStatus:
    """Return a fleet in which much is going on."""
    accounts = (
        _account("tencent", Seen(ready=1840, dead=39, oldest_ms=NOW_MS - 2 * MINUTE), 696, lowered=806),
        _account("tencent-cn", Seen(State("recovering", since_ms=NOW_MS - 7000)), 49),
        _account(
            "alibaba",
            Seen(
                State(
                    "circuit_open",
                    "no_answer",
                    "172 of the last 281 calls failed or were slow",
                    since_ms=NOW_MS - 4 * MINUTE,
                ),
                ready=8231,
                dead=412,
                oldest_ms=NOW_MS - 4 * MINUTE,
            ),
            0,
            pulse=AccountPulse(
                2,
                5,
                NOW_MS + 1000,
                ErrorSeen(NOW_MS - 2000, "unknown", "no_answer", "no whole answer within 10 s"),
            ),
        ),
        _account(
            "alibaba_cn",
            Seen(
                State(
                    "paused", message="keys are being rotated", by="chen@ops-1", since_ms=NOW_MS - 34 * MINUTE
                ),
                ready=120,
                dead=3,
                oldest_ms=NOW_MS - 33 * MINUTE,
            ),
            0,
        ),
    )
    workers = tuple(
        WorkerSeen(
            name,
            NOW_MS + 30_000,
            held,
            NOW_MS,
            host,
            pid,
            flying,
            400,
            NOW_MS - 156 * MINUTE,
            serves=tuple(sorted(DELIVERED)),
            version=VERSION,
        )
        for name, host, pid, held, flying in (
            ("3f9a1c77b2e0", "otp-worker-1", 4711, 64, 52),
            ("8d02be1490aa", "otp-worker-1", 4712, 22, 13),
            ("c55e0d1f7a31", "otp-worker-2", 9921, 24, 17),
        )
    )
    return replace(
        look(*accounts, workers=workers, unserved={"tencnet": 3}), redis="redis://redis.internal:6379/0"
    )


def _account(
    name: str, seen: Seen, pace: float, *, lowered: float | None = None, pulse: AccountPulse | None = None
) -> AccountStatus:
    drawn = account(name, seen, pulse=pulse, pace=pace)
    rate = Rate(lowered, 1000.0, NOW_MS / 1000, None)
    trail = tuple(pace * (0.9 + 0.1 * math.sin(n / 3)) for n in range(60))
    held = {"tencent": (98, 12), "tencent-cn": (11, 4), "alibaba": (1, 310)}.get(name, (0, 0))
    snapshot = replace(
        drawn.seen,
        rate=rate,
        scheduled=held[1],
        records=sum(held),
        booked={"taken": DELIVERED[name] + seen.dead + sum(held), "delivered": DELIVERED[name]},
    )
    snapshot = replace(snapshot, otps=OTPS if name == OTPS.account else None)
    return replace(drawn, seen=snapshot, trail=trail)


class Frozen(Display):
    """Records what is shown in the minute in which most is to be seen."""

    def __init__(self) -> None:
        super().__init__(Console(file=io.StringIO()))
        self.recorded = recording(STORY_WIDTH)

    def show(self, minute: int, otps: Otps, alarm: Alarm) -> None:
        """Show the figures, and record them in that minute."""
        super().show(minute, otps, alarm)
        if minute == STORY_MINUTE:
            self.recorded.print(self.picture)


def story() -> str:
    """Return what `demo --story` shows, as a picture."""
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder), [ACCOUNT], story=True) as processes:
        frozen = Frozen()
        play(processes, frozen)
    return svg(frozen.recorded, "otpreport demo --story", "story")


def recording(width: int) -> Console:
    """Return a console that records what it shows."""
    return Console(
        file=io.StringIO(),
        record=True,
        width=width,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )


def terminal() -> str:
    """Return what `status --watch` shows of it, as a picture."""
    console = recording(WIDTH)
    console.print(picture(fleet(), "", Canvas(WIDTH, drawn=True)))
    return svg(console, "otpreport status --watch", "status")


def svg(console: Console, title: str, unique_id: str) -> str:
    """Return what a console has recorded, as a picture that fetches nothing."""
    drawn = console.export_svg(title=title, unique_id=unique_id)
    drawn = re.sub(r"<!--.*?-->|@font-face *\{.*?\}", "", drawn, flags=re.DOTALL)
    return re.sub(r"\n\s*\n+", "\n", drawn).replace("Fira Code, monospace", "monospace")


class _Page(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        """Serve the page's files, and the fleet as its JSON."""
        if not self.path.endswith("status.json"):
            super().do_GET()
            return
        body = orjson.dumps(record(fleet()))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server calls
        """Say nothing."""


def page(chromium: str, file: Path) -> None:
    """Take a picture of the status page."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Page, directory=str(FILES)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--hide-scrollbars", f"--user-data-dir={folder}"),
                *("--window-size=1200,960", "--virtual-time-budget=3000", f"--screenshot={file}"),
                f"http://127.0.0.1:{server.server_port}/status.html",
            ],
            check=True,
            capture_output=True,
        )
    server.shutdown()


if __name__ == "__main__" and "story" in sys.argv:
    (DOCS / "demo-story.svg").write_text(story())
elif __name__ == "__main__":
    (DOCS / "status-watch.svg").write_text(terminal())
    if found := shutil.which("chromium"):
        page(found, DOCS / "status-page.png")
    else:
        print("chromium is not there: docs/status-page.png is as it was", file=sys.stderr)
