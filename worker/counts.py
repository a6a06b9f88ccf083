"""Counters and histograms for what happens with every report: plain numbers instead of the library's locked ones.

Only the loop's thread changes them; the thread that writes a scrape reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Count:
    """A number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        """Count one more."""
        self.value += 1


class Spread:
    """The number of values in each bucket, and their sum; upper bounds are inclusive."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.sum += value
        self.counts[bisect_left(self._bounds, value)] += 1


class Counters(Collector):
    """A counter with a `Count` for each combination of its labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._family = name, text, labels
        self._counts: dict[tuple[str, ...], Count] = {}

    def labels(self, *values: str) -> Count:
        """Return the count of these label values."""
        return self._counts.setdefault(values, Count())

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the counter as it is now."""
        name, text, labels = self._family
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        yield family


class Histograms(Collector):
    """A histogram with a `Spread` for each combination of its labels; its bounds are below a million."""

    def __init__(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._family = name, text, labels
        self._bounds = bounds
        self._names = [*(str(float(bound)) for bound in bounds), "+Inf"]
        self._spreads: dict[tuple[str, ...], Spread] = {}

    def labels(self, *values: str) -> Spread:
        """Return the spread of these label values."""
        return self._spreads.setdefault(values, Spread(self._bounds))

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram; its count is its last bucket, so that both agree while the loop goes on counting."""
        name, text, labels = self._family
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, spread in self._spreads.items():
            total, counts = spread.sum, spread.counts.copy()
            buckets = list(zip(self._names, accumulate(counts), strict=True))
            family.add_metric(values, buckets, total)
        yield family
