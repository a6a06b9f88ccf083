"""The first row: what needs attention."""

from __future__ import annotations

from deploy.dashboard.look import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, ZERO, Name, Steps
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import Query, each_fleet, fleet, growth, quantiles, select
from deploy.dashboard.rows.row import AGES, AIM, LATE, PER_ACCOUNT, Row

STATES = (
    Name(1, "running", GREEN),
    Name(2, "recovering", BLUE),
    Name(3, "circuit_open", ORANGE),
    Name(4, "refused", RED),
    Name(5, "paused", PURPLE),
    Name(6, "shedding", YELLOW),
    Name(7, "unknown", GREY),
)
"""The states of an account, and their numbers in the timeline."""

_DELIVERED = growth("events_total", "account", outcome="delivered")
_OLDEST = fleet("oldest_event_age_seconds", "account")
_DEAD = fleet("dead_events", "account, reason")
_NOT_RUNNING = fleet("account_state", "account, state", state="!running")


def _state() -> str:
    parts = (f"{fleet('account_state', 'account, state', state=n.text)} * {n.value}" for n in STATES)
    return f"sum by (account) ({' or '.join(parts)})"


def _on_time() -> str:
    """Query the share of events within the SLO; a dead letter counts as late, once."""
    within = _grown(select("event_age_seconds_bucket", le=f"{AIM}.0"))
    every = _grown(select("event_age_seconds_count"))
    dead = _grown(select("events_total", outcome="dead"))
    again = _grown(select("replays_dead_total"))
    return f"sum({within}) / (sum({every}) + sum({dead} or -{again}))"


def _grown(counter: str) -> str:
    return f"increase({counter}[$__range])"


def _figure(title: str, text: str, unit: str, query: Query, steps: Steps, most: float | None = None) -> Panel:
    return Panel(title, text, unit, (query,), 4, 4, "stat", steps, most=most)


WELL = Row(
    "Health",
    (
        _figure(
            "Delivered",
            "Events accepted by providers per second.",
            "eps",
            Query(f"sum({_DELIVERED})", "delivered"),
            Steps(GREEN),
        ),
        _figure(
            "Oldest event",
            "Age of the oldest waiting event, since code entry.",
            "s",
            Query(f"max({_OLDEST})", "oldest"),
            Steps(GREEN, ((AIM / 2, YELLOW), (AIM, RED))),
        ),
        _figure(
            f"Reported within {AIM} s",
            f"Share of the events finished in the time range that were reported within {AIM} s of code entry. Dead "
            "letters count as late; the SLO is 99 %.",
            "percentunit",
            Query(_on_time(), "on time", at_once=True),
            Steps(RED, ((0.99, GREEN),)),
            most=1,
        ),
        _figure(
            "Dead letters",
            "Events that failed permanently; inspect them with otpreport dead stats.",
            "short",
            Query(f"sum({_DEAD})", "dead"),
            ZERO,
        ),
        _figure(
            "Accounts not running",
            "See the timeline below, or otpreport accounts list.",
            "short",
            Query(f"sum({_NOT_RUNNING})", "not running"),
            ZERO,
        ),
        _figure(
            "Workers",
            "Workers that hold a lease in Redis.",
            "short",
            Query(f"sum({each_fleet('workers')})", "workers"),
            Steps(RED, ((1, GREEN),)),
        ),
        Panel(
            "Account states",
            "recovering: the rate ramps up; circuit_open: the provider fails, a probe tests it; refused: the provider "
            "refuses the account or its events; paused, shedding: set by an operator.",
            "short",
            (Query(_state(), PER_ACCOUNT),),
            12,
            kind="state-timeline",
            names=STATES,
        ),
        Panel(
            "Age of events when reported",
            f"From code entry to the provider's answer; the dashed line is the target, {AIM} s. Percentiles are "
            f"only as "
            "precise as the histogram's buckets.",
            "s",
            quantiles("event_age_seconds"),
            12,
            steps=LATE,
            colours=AGES,
            line=True,
        ),
        Panel(
            "Delivered by account",
            "Events accepted by the provider per second.",
            "eps",
            (Query(_DELIVERED, PER_ACCOUNT),),
            8,
        ),
        Panel(
            "Oldest event by account",
            "Grows one second per second while nothing is delivered; the dashed line is the target.",
            "s",
            (Query(_OLDEST, PER_ACCOUNT),),
            8,
            steps=LATE,
            line=True,
        ),
        Panel(
            "Dead letters by reason",
            "Dead letters kept; replaying or purging removes them.",
            "short",
            (Query(f"sum by (reason) ({_DEAD})", "{{reason}}"),),
            8,
        ),
    ),
)
