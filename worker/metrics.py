"""The metrics of a worker; label values come from closed sets."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
)

from providers.base import Result
from tasks.dead_letters.keep import BOUNDS
from tasks.message import OPTIONS
from worker.counts import Counters, Histograms

OUTCOMES = ("delivered", "duplicate", "skipped", "shed", "tracked", "dead")
RELOADS = ("changed", "refused")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600, 14400, 43200, 86400)


class Metrics:
    """The metrics of one worker process; the children of each account are looked up once."""

    def __init__(self, accounts: dict[str, str]) -> None:
        """Create every series for `accounts`, a map of account to provider, so that all exist from the start."""
        # a series more for each counter and histogram, that nobody asks for
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left its types out
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        labels = ["account", "provider"]
        events = self._counters(
            "events",
            "Events finished by this worker, by outcome; a replay counts again.",
            [*labels, "outcome"],
        )
        replays_dead = self._counter(
            "replays_dead",
            "Replayed dead letters that died again; also counted as dead in `otpreport_events_total`.",
            labels,
        )
        attempts = self._counters(
            "attempts",
            "Requests to a provider, by result; `not_sent` never left this worker.",
            [*labels, "result"],
        )
        duration = self._histograms(
            "attempt_duration_seconds", "Latency of requests to the provider.", labels, SECONDS
        )
        age = self._histograms(
            "event_age_seconds",
            "Age of delivered events: from code entry to the accepted report.",
            labels,
            AGES,
        )
        wait = self._histograms(
            "admission_wait_seconds",
            "Time that leased events waited for a slot of the rate limit.",
            labels,
            SECONDS,
        )
        lost = self._counter(
            "leases_lost",
            "Events that other workers took over because the lease of this one expired.",
            labels,
        )
        removed = self._counter(
            "dead_removed",
            "Dead letters removed by this worker, by the limit they exceeded: age, number or Redis' memory.",
            [*labels, "bound"],
        )
        ignored = self._counter(
            "message_options_ignored",
            "Options of messages that were ignored: tasks that were to follow, results, times without a zone.",
            [*labels, "option"],
        )
        offset = Gauge(
            "otpreport_clock_offset_seconds",
            "Offset of the provider's clock ahead of this worker's; 0 unless the provider refused our time.",
            labels,
            registry=self.registry,
        )
        aside = Gauge(
            "otpreport_account_left_to_others",
            "1 while this worker can't reach the account's provider and other workers can.",
            labels,
            registry=self.registry,
        )
        both = accounts.items()
        self.aside = {a: aside.labels(a, p) for a, p in both}
        self.offset = {a: offset.labels(a, p) for a, p in both}
        self.events = {(a, o): events.labels(a, p, o) for a, p in both for o in OUTCOMES}
        self.ignored = {(a, o): ignored.labels(a, p, o) for a, p in both for o in OPTIONS}
        self.removed = {(a, b): removed.labels(a, p, b) for a, p in both for b in BOUNDS}
        self.replays_dead = {a: replays_dead.labels(a, p) for a, p in both}
        self.attempts = {(a, r): attempts.labels(a, p, r.value) for a, p in both for r in Result}
        self.duration = {a: duration.labels(a, p) for a, p in both}
        self.age = {a: age.labels(a, p) for a, p in both}
        self.wait = {a: wait.labels(a, p) for a, p in both}
        self.lost = {a: lost.labels(a, p) for a, p in both}
        self.recovered = self._counter(
            "events_recovered", "Events of dead workers that this worker recovered.", []
        )
        self.redis_errors = self._counter(
            "redis_errors", "Failed calls to Redis: unreachable, or refused.", []
        )
        self.faults = self._counter(
            "internal_errors", "Reports that raised an exception: a bug in otpreport, see the log.", []
        )
        self.log_dropped = self._counter(
            "log_lines_dropped",
            "Log lines dropped because the log reader did not keep up or the disk is full.",
            [],
        )
        self.inflight = self._gauge("inflight_requests", "Requests in flight.")
        self.concurrency = self._gauge("concurrency", "Limit of requests in flight (`CONCURRENCY`).")
        self.lag = self._gauge("event_loop_lag_seconds", "Largest event loop lag in the last second.")
        self.progress = self._gauge(
            "last_progress_timestamp_seconds",
            "When this worker last got an answer from Redis to a request for work.",
        )

        reloads = self._counter(
            "credentials_reloads",
            "Reloads of changed key files: applied, or refused because the settings were invalid.",
            [*labels, "result"],
        )
        self.reloads = {(a, r): reloads.labels(a, p, r) for a, p in both for r in RELOADS}
        self.stale = self._gauge(
            "settings_stale",
            "1 while the settings files differ from the running settings: invalid, or a restart is needed.",
        )

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"otpreport_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"otpreport_{name}", text, registry=self.registry)

    def _counters(self, name: str, text: str, labels: list[str]) -> Counters:
        counters = Counters(f"otpreport_{name}", text, labels)
        self.registry.register(counters)
        return counters

    def _histograms(self, name: str, text: str, labels: list[str], bounds: tuple[float, ...]) -> Histograms:
        histograms = Histograms(f"otpreport_{name}", text, labels, bounds)
        self.registry.register(histograms)
        return histograms
