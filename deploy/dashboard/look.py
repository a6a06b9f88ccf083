"""What a panel looks like beyond its numbers: colours, thresholds, names for values."""

from __future__ import annotations

from dataclasses import dataclass

Json = dict[str, object]

GREEN, BLUE, PURPLE, ORANGE, YELLOW, RED, GREY = (
    "green",
    "blue",
    "purple",
    "orange",
    "yellow",
    "red",
    "#808080",
)


@dataclass(frozen=True, slots=True)
class Steps:
    """Colours from bounds upward: `first` below all of them."""

    first: str
    bounds: tuple[tuple[float, str], ...] = ()

    def json(self) -> Json:
        """Return them as Grafana has them."""
        steps = [(None, self.first), *self.bounds]
        return {"mode": "absolute", "steps": [{"color": colour, "value": bound} for bound, colour in steps]}


PLAIN = Steps(GREEN)
ZERO = Steps(GREEN, ((1, RED),))
"""Anything but 0 is bad."""


@dataclass(frozen=True, slots=True)
class Name:
    """A word and a colour for a value."""

    value: int
    text: str
    colour: str


def mappings(names: tuple[Name, ...]) -> list[Json]:
    """Return the names of values as Grafana has them."""
    options: Json = {
        str(name.value): {"text": name.text, "color": name.colour, "index": place}
        for place, name in enumerate(names)
    }
    return [{"type": "value", "options": options}] if names else []


def coloured(series: dict[str, str]) -> list[Json]:
    """Return the overrides that give these series fixed colours."""
    return [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in series.items()
    ]


def dashed(pattern: str) -> list[Json]:
    """Return the override that draws the series whose names match as dashed lines."""
    style = {"fill": "dash", "dash": [8, 6]}
    matcher = {"id": "byRegexp", "options": f"/{pattern}/"}
    return (
        [{"matcher": matcher, "properties": [{"id": "custom.lineStyle", "value": style}]}] if pattern else []
    )
