"""The package's face."""

import providers
from providers import REGISTRY
from tests.support.provider_samples import SAMPLES


def test_every_provider_has_a_sample() -> None:
    """No provider escapes the suite for all of them."""
    assert {sample.name for sample in SAMPLES.values()} == REGISTRY.keys()


def test_registry_holds_the_names_of_the_settings() -> None:
    """These names stand in people's settings."""
    assert {"tencent", "alibaba", "alibaba_cn"} <= REGISTRY.keys()


def test_exports_are_sorted_and_real() -> None:
    """`__all__` names what is there, in order."""
    assert all(hasattr(providers, name) for name in providers.__all__)
    assert sorted(providers.__all__) == sorted(set(providers.__all__))
