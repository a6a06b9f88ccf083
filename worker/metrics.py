"""Every metric of a worker; label values come from closed sets."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from providers.base import Result
from tasks.dead_letters.keep import BOUNDS

OUTCOMES = ("delivered", "duplicate", "skipped", "shed", "dead")
RELOADS = ("changed", "refused")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 43200, 86400)


class Metrics:
    """The metrics of one worker process, with a child for each account looked up once."""

    def __init__(self, accounts: dict[str, str]) -> None:
        """Declare every series for `accounts`, a map of account to provider, so that all exist from the start."""
        # a series more for each counter and histogram, that nobody asks for
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left its types out
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ["account", "provider"]
        events = self._counter(
            "events",
            "Events that ended here, and how: each message counts once, a replayed one once more.",
            [*labels, "outcome"],
        )
        replays_dead = self._counter(
            "replays_dead",
            "Dead letters that were replayed and died again; `otpreport_events_total` counts them as dead, too.",
            labels,
        )
        attempts = self._counter(
            "attempts",
            "Requests to a provider, by what the answer meant; of one that is `not_sent` nothing left this worker.",
            [*labels, "result"],
        )
        duration = self._histogram(
            "attempt_duration_seconds", "Time from sending a request to its answer.", labels, SECONDS
        )
        age = self._histogram(
            "event_age_seconds",
            "Age of an event when it was delivered: from the code entered to the report taken.",
            labels,
            AGES,
        )
        wait = self._histogram(
            "admission_wait_seconds",
            "Time that a leased event waited for its slot under the rate limit.",
            labels,
            SECONDS,
        )
        lost = self._counter(
            "leases_lost", "Events that another worker took over because this one fell silent.", labels
        )
        removed = self._counter(
            "dead_removed",
            "Dead letters that this worker removed since they were too old, too many, or too much for Redis' memory.",
            [*labels, "bound"],
        )
        offset = Gauge(
            "otpreport_clock_offset_seconds",
            "By how much the provider's clock is ahead of this worker's; 0 while it has not refused our time.",
            labels,
            registry=self.registry,
        )
        aside = Gauge(
            "otpreport_account_left_to_others",
            "1 while nothing gets out of this worker to the account's provider and other workers have answers.",
            labels,
            registry=self.registry,
        )
        both = accounts.items()
        self.aside = {a: aside.labels(a, p) for a, p in both}
        self.offset = {a: offset.labels(a, p) for a, p in both}
        self.events = {(a, o): events.labels(a, p, o) for a, p in both for o in OUTCOMES}
        self.removed = {(a, b): removed.labels(a, p, b) for a, p in both for b in BOUNDS}
        self.replays_dead = {a: replays_dead.labels(a, p) for a, p in both}
        self.attempts = {(a, r): attempts.labels(a, p, r.value) for a, p in both for r in Result}
        self.duration = {a: duration.labels(a, p) for a, p in both}
        self.age = {a: age.labels(a, p) for a, p in both}
        self.wait = {a: wait.labels(a, p) for a, p in both}
        self.lost = {a: lost.labels(a, p) for a, p in both}
        self.recovered = self._counter(
            "events_recovered", "Events of dead workers that this one put back.", []
        )
        self.redis_errors = self._counter(
            "redis_errors", "Calls to Redis that failed: it was away, or refused.", []
        )
        self.faults = self._counter(
            "internal_errors", "Reports that ended in an exception: a fault of this program, see the log.", []
        )
        self.log_dropped = self._counter(
            "log_lines_dropped",
            "Lines that were not written, for whoever reads the log did not keep up, or the disk is full.",
            [],
        )
        self.inflight = self._gauge("inflight_requests", "Requests under way now.")
        self.concurrency = self._gauge(
            "concurrency", "Most requests that may be under way at once (`CONCURRENCY`)."
        )
        self.lag = self._gauge(
            "event_loop_lag_seconds", "The longest that the event loop was late in the last second."
        )
        self.progress = self._gauge(
            "last_progress_timestamp_seconds", "When this worker last asked Redis for work and got an answer."
        )

        reloads = self._counter(
            "credentials_reloads",
            "Changes of the files with the keys: taken over, or refused because the settings were wrong.",
            [*labels, "result"],
        )
        self.reloads = {(a, r): reloads.labels(a, p, r) for a, p in both for r in RELOADS}
        self.stale = self._gauge(
            "settings_stale",
            "1 while the files hold other settings than the worker runs with: wrong ones, or some that need a restart.",
        )

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"otpreport_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"otpreport_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"otpreport_{name}", text, labels, buckets=buckets, registry=self.registry)
