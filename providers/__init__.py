"""SMS providers: event in, signed request out; answer in, outcome out. No I/O, no HTTP library."""

from providers.base import Answer, Outcome, Provider, Result, SignedRequest, reported_at_ms
from providers.registry import REGISTRY

__all__ = ["REGISTRY", "Answer", "Outcome", "Provider", "Result", "SignedRequest", "reported_at_ms"]
