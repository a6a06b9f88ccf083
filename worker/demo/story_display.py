"""The story in the terminal: rates by country, and below what happens; piped, only what happens and a few figures."""

from __future__ import annotations

from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tasks.tracking.otps import Country, Otps
from worker.cli.shapes import bar, sparkline
from worker.demo.alarm import Alarm, Ring
from worker.fleet.conversion import percent

NAMES = {"CN": "China", "SG": "Singapore", "BR": "Brazil", "NG": "Nigeria"}
BAR, TREND = 14, 18

ROOMY = 80
"""Columns of a terminal that has room for the trends, too."""

EVERY = 8
"""Minutes between two lines of figures in a pipe."""

HEADING = "OTPs of the last 10 minutes, by country; a second stands for a minute"


class Display:
    """Draws the story; a context manager."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._table = Table.grid()
        self._lines: list[Text] = []
        self._trends: dict[str, list[float]] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        else:
            self.console.print(HEADING, highlight=False)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def picture(self) -> Group:
        """What is on the terminal."""
        return Group(Text(HEADING, style="bold"), self._table, Text(""), *self._lines)

    def say(self, minute: int, text: str) -> None:
        """Add what happens."""
        self._add(Text.assemble((f"{minute:3} min  ", "dim"), text))

    def ring(self, minute: int, ring: Ring, words: str) -> None:
        """Add an alert that would fire."""
        self._add(Text.assemble((f"{minute:3} min  ", "dim"), (f"✖ {ring.alert}", "bold red"), f" ({words})"))

    def show(self, minute: int, otps: Otps, alarm: Alarm) -> None:
        """Show the figures of the last ten minutes."""
        grown = {code: alarm.grown(code) for code in sorted(otps.countries, key=list(NAMES).index)}
        for code, country in grown.items():
            self._trends.setdefault(code, []).append(_rate(country) or 0.0)
        self._table = self._figures(grown)
        self._draw()
        if not self._live and not minute % EVERY:
            rates = ", ".join(f"{code} {percent(_rate(country))}" for code, country in grown.items())
            self.console.print(f"{minute:3} min    conversion {rates}", highlight=False)

    def _figures(self, grown: dict[str, Country]) -> Table:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("", width=9)
        for title in ("sent", "verified", "closed"):
            table.add_column(title, justify="right", width=8 if title == "verified" else 6)
        table.add_column("conversion", width=BAR + 6)
        roomy = self.console.width >= ROOMY
        if roomy:
            table.add_column("", width=TREND)
        for code, country in grown.items():
            rate = _rate(country)
            style = "red" if rate is not None and rate < 0.35 else "green"
            share = Text.assemble(bar(rate or 0.0, BAR, style), f" {percent(rate):>5}")
            trend = Text(sparkline(self._trends[code][-TREND:], 1.0), style=style)
            counts = (f"{country.sent}", f"{country.verified}", f"{country.closed}")
            table.add_row(NAMES[code], *counts, share, *((trend,) if roomy else ()))
        return table

    def _add(self, line: Text) -> None:
        self._lines.append(line)
        if not self._live:
            self.console.print(line)
        self._draw()

    def _draw(self) -> None:
        if self._live:
            self._live.update(self.picture, refresh=True)


def _rate(country: Country) -> float | None:
    """Return the conversion rate; None while nothing is closed."""
    return country.yes / country.closed if country.closed else None
