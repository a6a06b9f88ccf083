"""The tables of docs/metrics.md, from the registries of a worker and the exporter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from config.account import Account
from providers.base import Options
from tasks.accounts.states import State
from tasks.countries import COUNTRIES
from tasks.fleet.snapshot import AccountSnapshot, Kept, Snapshot
from tasks.keyspace import Queues
from tasks.limiter.rate import Rate
from tasks.tracking.otps import Otps
from worker.fleet.metrics import FleetCollector
from worker.fleet.redis_memory import RedisMemory
from worker.metrics import Metrics
from worker.reference.page import Blocks, code, table

ACCOUNT, PROVIDER = "<account>", "<provider>"
OPEN = {ACCOUNT, PROVIDER}
"""Placeholders for label values that come from settings."""

OURS = "otpreport_"

HEADER = ("metric", "type", "labels", "unit", "meaning")

UNITS = {
    "timestamp_seconds": "UNIX seconds",
    "per_second": "requests/s",
    "seconds": "seconds",
    "bytes": "bytes",
    "state": "0 or 1",
    "up": "0 or 1",
    "stale": "0 or 1",
    "concurrency": "requests",
    "info": "always 1",
}
"""Units by name suffix."""

THINGS = (
    "events",
    "attempts",
    "requests",
    "leases",
    "errors",
    "reloads",
    "replays",
    "workers",
    "lines",
    "otps",
    "notices",
    "reports",
)
"""Units of the other metrics: the first of these in the name."""


def blocks() -> Blocks:
    """Return the tables of worker metrics, exporter metrics and buckets."""
    own, fleet = list(worker_metrics()), list(exporter_metrics())
    return {
        "worker-metrics": table(HEADER, map(_row, own)),
        "exporter-metrics": table(HEADER, map(_row, fleet)),
        "buckets": table(("histogram", "upper bounds"), _buckets([*own, *fleet])),
    }


def worker_metrics() -> Iterator[Metric]:
    """Yield the metrics of a worker with one account."""
    return _sorted(Metrics({ACCOUNT: PROVIDER}).registry.collect())


def exporter_metrics() -> Iterator[Metric]:
    """Yield the exporter's metrics of one account, all present."""
    collector = FleetCollector({ACCOUNT: _account()})
    collector.snapshot, collector.queues = _snapshot(), Queues({}, complete=True)
    collector.memory, collector.needed = RedisMemory(used=0, limit=0), 1
    registry = CollectorRegistry()
    registry.register(collector)
    return _sorted(registry.collect())


def _sorted(metrics: Iterable[Metric]) -> Iterator[Metric]:
    """Yield our metrics; process metrics differ between systems."""
    ours = (metric for metric in metrics if metric.name.startswith(OURS))
    return iter(sorted(ours, key=lambda metric: metric.name))


def _row(metric: Metric) -> tuple[str, ...]:
    return code(_name(metric)), metric.type, _labels(metric), _unit(metric), metric.documentation


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def _unit(metric: Metric) -> str:
    unit = next((unit for end, unit in UNITS.items() if metric.name.endswith(end)), "")
    return unit or next((thing for thing in THINGS if thing in metric.name), "").replace("otps", "OTPs")


def _labels(metric: Metric) -> str:
    """Return the labels, each with its closed set of values unless they come from settings or are countries."""
    return ", ".join(
        code(name) if set(values) <= OPEN or values == [*COUNTRIES] else f"{code(name)}: {code(*values)}"
        for name, values in label_values(metric).items()
    )


def label_values(metric: Metric) -> Mapping[str, list[str]]:
    """Return each label's values in the order served; ValueError if there are none."""
    if not metric.samples:
        raise ValueError(f"{metric.name} has no series from the start: declare them in its __init__")
    found: dict[str, dict[str, None]] = {}
    for sample in metric.samples:
        for name, value in sample.labels.items():
            if name != "le":
                found.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in found.items()}


def _buckets(metrics: Iterable[Metric]) -> Iterator[tuple[str, str]]:
    for metric in metrics:
        if metric.type == "histogram":
            bounds = dict.fromkeys(sample.labels["le"] for sample in metric.samples if "le" in sample.labels)
            yield code(metric.name), " ".join(bounds)


def _account() -> Account:
    return Account(ACCOUNT, PROVIDER, "https://sms.example", 1, "group", 1, 1.0, Options())


def _snapshot() -> Snapshot:
    account = AccountSnapshot(
        name=ACCOUNT,
        configured=True,
        now_ms=0,
        ready=0,
        scheduled=0,
        records=0,
        dead=0,
        dead_by_reason={},
        booked={},
        oldest_ms=None,
        state=State(),
        rate=Rate(),
        kept=Kept(1, 1, 1, 1, 1),
        otps=Otps(ACCOUNT, 0),
    )
    return Snapshot(0, 1, (account,))
