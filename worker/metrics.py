"""Every metric of a worker; label values come from closed sets."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from providers.base import Result

OUTCOMES = ("delivered", "duplicate", "skipped", "shed", "dead")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0)
AGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 43200, 86400)


class Metrics:
    """The metrics of one worker process, with a child for each account looked up once."""

    def __init__(self, accounts: dict[str, str]) -> None:
        """Declare every series for `accounts`, a map of account to provider, so that all exist from the start."""
        self.registry = CollectorRegistry()
        labels = ["account", "provider"]
        events = self._counter("events", "Events that ended, one count per message.", [*labels, "outcome"])
        attempts = self._counter(
            "attempts", "Requests to a provider, by what the answer meant.", [*labels, "result"]
        )
        duration = self._histogram("attempt_duration_seconds", "Time a request took.", labels, SECONDS)
        age = self._histogram(
            "event_age_seconds", "From verified to reported, of delivered events.", labels, AGES
        )
        wait = self._histogram("admission_wait_seconds", "Time from lease to slot.", labels, SECONDS)
        lost = self._counter("leases_lost", "Leases that another worker took over.", labels)
        both = accounts.items()
        self.events = {(a, o): events.labels(a, p, o) for a, p in both for o in OUTCOMES}
        self.attempts = {(a, r): attempts.labels(a, p, r.value) for a, p in both for r in Result}
        self.duration = {a: duration.labels(a, p) for a, p in both}
        self.age = {a: age.labels(a, p) for a, p in both}
        self.wait = {a: wait.labels(a, p) for a, p in both}
        self.lost = {a: lost.labels(a, p) for a, p in both}
        self.recovered = self._counter("events_recovered", "Events taken back from dead workers.", [])
        self.redis_errors = self._counter("redis_errors", "Calls to Redis that failed.", [])
        self.faults = self._counter("internal_errors", "Reports that raised: a fault of this program.", [])
        self.inflight = self._gauge("inflight_requests", "Requests under way.")
        self.lag = self._gauge(
            "event_loop_lag_seconds", "The longest the event loop was late in the last second."
        )
        self.progress = self._gauge(
            "last_progress_timestamp_seconds", "When this worker last went round its loop."
        )

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"otpreport_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"otpreport_{name}", text, registry=self.registry)

    def _histogram(self, name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"otpreport_{name}", text, labels, buckets=buckets, registry=self.registry)
