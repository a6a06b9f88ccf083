"""docs/providers.md: nothing is missing of any provider."""

import pytest

from providers import REGISTRY
from tests.support.provider_samples import SAMPLES, Sample
from worker.reference.providers import NOTES, blocks


@pytest.mark.parametrize("block", blocks())
def test_each_provider_has_a_whole_line(block: str) -> None:
    """Every cell says something, sources too."""
    header, _, *lines = [line.strip("| ").split(" | ") for line in blocks()[block].splitlines()]
    assert [line[0] for line in lines] == [f"`{name}`" for name in sorted(REGISTRY)]
    assert all(len(line) == len(header) and all(line) for line in lines)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.label)
def test_the_time_is_that_of_a_report(sample: Sample) -> None:
    """Whether there is one, in which unit, and whether it may be left out: as the suite finds it in the requests."""
    time = NOTES[sample.name].time
    assert (time == "none") is (sample.unit_ms is None)
    assert ("required" in time) is sample.needs_time
    if sample.unit_ms is not None:
        assert ("ms" in time.split(",")[0].split()) is (sample.unit_ms == 1)
