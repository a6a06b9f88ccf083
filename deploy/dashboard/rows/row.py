"""A row, and what the panels of several rows share."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.dashboard.look import GREEN, ORANGE, RED, YELLOW, Steps
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import fleet, growth

AIM = 60
"""Seconds within which 99 of 100 events are to be reported, as deploy/alerts.yml has it."""

LATE = Steps(GREEN, ((AIM, RED),))
AGES = {"p50": GREEN, "p95": YELLOW, "p99": ORANGE}

PER_ACCOUNT = "{{account}}"
PER_WORKER = "{{instance}}"

USED = growth("attempts_total", "account")
EFFECTIVE = fleet("rate_limit_per_second", "account", kind="effective")


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels under it, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]
