"""What a worker's registry serves."""

from collections.abc import Callable, Iterator

import prometheus_client
import pytest

from worker.metrics import Metrics

serve_created: Callable[[], None] = prometheus_client.enable_created_metrics
leave_created_out: Callable[[], None] = prometheus_client.disable_created_metrics


@pytest.fixture(autouse=True)
def as_the_library_has_it() -> Iterator[None]:
    """Let prometheus-client serve `_created` series, as it does unless it is told not to."""
    serve_created()
    yield
    leave_created_out()


def created(metrics: Metrics) -> list[str]:
    """Return the names of the samples that say when something began."""
    samples = (sample for metric in metrics.registry.collect() for sample in metric.samples)
    return [sample.name for sample in samples if sample.name.endswith("_created")]


def test_no_time_of_creation_is_served() -> None:
    """Nobody asks when a series began, and it would make a scrape longer; the control: it is there unless left out."""
    metrics = Metrics({"tencent": "tencent"})
    assert not created(metrics)
    serve_created()
    assert created(metrics)
