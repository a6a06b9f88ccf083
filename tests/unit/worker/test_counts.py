"""Counters and histograms of the hot path."""

from collections.abc import Callable

import prometheus_client
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest

from worker.counts import Counters, Histograms

BOUNDS = (0.005, 0.25, 1, 2.5, 86_400)
LABELS = ["account", "result"]
leave_created_out: Callable[[], None] = prometheus_client.disable_created_metrics


@given(
    seen=st.lists(
        st.tuples(
            st.sampled_from(["tencent", 'odd"\\\n']),
            st.sampled_from(BOUNDS) | st.floats(min_value=0.0, max_value=100.0),
        )
    )
)
def test_a_scrape_reads_as_the_librarys(seen: list[tuple[str, float]]) -> None:
    """Byte for byte: names, help, types, labels, the series that are still zero, and a value that is a bound."""
    leave_created_out()
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counters = Counters("requests", 'With "quotes".', LABELS)
    histograms = Histograms("took_seconds", "Time it took.", LABELS, BOUNDS)
    ours.register(counters)
    ours.register(histograms)
    counter = Counter("requests", 'With "quotes".', LABELS, registry=theirs)
    histogram = Histogram("took_seconds", "Time it took.", LABELS, buckets=BOUNDS, registry=theirs)
    for account in ("tencent", 'odd"\\\n', "silent"):
        for made in (counters, histograms, counter, histogram):
            made.labels(account, "delivered")
    for account, value in seen:
        counters.labels(account, "delivered").inc()
        histograms.labels(account, "delivered").observe(value)
        counter.labels(account, "delivered").inc()
        histogram.labels(account, "delivered").observe(value)
    assert generate_latest(ours) == generate_latest(theirs)
