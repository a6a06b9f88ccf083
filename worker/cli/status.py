"""The state of the fleet, printed once or refreshed."""

from __future__ import annotations

import contextlib
import signal
import sys
import time

from redis.exceptions import RedisError
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.styled import Styled
from rich.text import Text

from tasks.keyspace import Queues, find_queues
from worker.cli.board import Canvas, board, heading
from worker.cli.errors import DONE, WRONG, CommandError
from worker.cli.screen import screen, write_json
from worker.cli.session import Session, refusal, session
from worker.fleet.record import record
from worker.fleet.status import FleetReader, FleetStatus
from worker.fleet.wording import moment, plain, span

INTERVAL = 1.0
"""Seconds between two looks of --watch."""

SCAN_INTERVAL = 30.0
"""Seconds between two searches for unserved queues."""

RESIZE_INTERVAL = 0.2
"""Seconds between two looks at the size of the terminal."""


def status(*, watch: bool, as_json: bool, interval: float | None = None) -> int:
    """Print the fleet once, or every `interval` seconds until Ctrl-C."""
    if watch and as_json:
        raise CommandError(WRONG, "--json prints once: it can't be used with --watch")
    if interval is not None and not watch:
        raise CommandError(WRONG, "--interval needs --watch")
    with session(keyless=True) as opened:
        if watch:
            _watch(opened, interval or INTERVAL)
            return DONE
        fleet = FleetReader(opened.client, opened.settings).read(queues_of(opened))
    if as_json:
        write_json(record(fleet))
    else:
        console = screen()
        console.print(board(fleet, canvas(console)))
    return DONE


def queues_of(opened: Session) -> Queues:
    """Return the queues that no worker serves."""
    return find_queues(opened.client, opened.keys, opened.settings.accounts)


class Sight:
    """The last reading: the fleet, and why there is nothing newer."""

    def __init__(self, opened: Session) -> None:
        self._opened = opened
        self._reader = FleetReader(opened.client, opened.settings)
        self._queues: Queues | None = None
        self._searched = -SCAN_INTERVAL
        self._away_since = 0.0
        self.fleet: FleetStatus | None = None
        self.fault = ""

    def refresh(self) -> None:
        """Read again; a Redis that is away is shown as such, and tried again."""
        try:
            if time.monotonic() - self._searched >= SCAN_INTERVAL:
                self._queues = queues_of(self._opened)
                self._searched = time.monotonic()
            self.fleet = self._reader.read(self._queues)
        except RedisError as error:
            if not self.fault:
                self._away_since = time.monotonic()
            since = span((time.monotonic() - self._away_since) // 1)
            self.fault = f"{refusal(self._opened.settings, error).lines[0]} (for {since})"
        else:
            self.fault = ""


def picture(fleet: FleetStatus | None, fault: str, canvas: Canvas) -> RenderableType:
    """Return what --watch shows: the figures, dim and under the reason where they are old."""
    trouble = [Text(plain(fault), style="bold red")] if fault else []
    if fleet is None:
        return Group(*trouble)
    top = heading(fleet, canvas, fault) if canvas.drawn else Text(f"{moment(fleet.now_ms)} UTC")
    figures = board(fleet, canvas)
    return Group(top, *trouble, Text(""), Styled(figures, "dim") if fault else figures)


def canvas(console: Console, *, endless: bool = False) -> Canvas:
    """Return what a console can show; `endless`: it may scroll."""
    if not console.is_terminal or console.is_dumb_terminal:
        return Canvas(console.width)
    drawn = console.encoding.lower().startswith("utf")
    return Canvas(console.width, None if endless else console.height - 2, drawn)


def _watch(opened: Session, interval: float) -> None:
    sight, console = Sight(opened), screen()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the terminal has to be put back, too
    with contextlib.suppress(KeyboardInterrupt):
        if console.is_terminal and not console.is_dumb_terminal:
            _draw(sight, console, interval)
        else:
            _write(sight, console, interval)


def _draw(sight: Sight, console: Console, interval: float) -> None:
    """Redraw in place; the last figures stay in the terminal at the end."""
    try:
        with Live(console=console, auto_refresh=False, screen=True) as live:
            while True:
                sight.refresh()
                _show(sight, live, time.monotonic() + interval)
    finally:
        console.print(picture(sight.fleet, sight.fault, canvas(console, endless=True)))


def _show(sight: Sight, live: Live, until: float) -> None:
    """Show the same figures until it is time for new ones, redrawn whenever the terminal changes its size."""
    size = None
    while (left := until - time.monotonic()) > 0:
        if size != live.console.size:
            size = live.console.size
            live.update(picture(sight.fleet, sight.fault, canvas(live.console)), refresh=True)
        time.sleep(min(left, RESIZE_INTERVAL))


def _write(sight: Sight, console: Console, interval: float) -> None:
    """Write one look under the other."""
    while True:
        sight.refresh()
        console.print(picture(sight.fleet, sight.fault, canvas(console)))
        console.print()
        sys.stdout.flush()
        time.sleep(interval)
