"""The fault plan: how slow, how wrong and how broken the provider is, replaceable while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

import orjson
from pydantic import ConfigDict, Field, TypeAdapter

from simulator.limits import ProviderName
from simulator.validation import validate

Share = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]
Rate = Annotated[int, Field(ge=1, le=1_000_000)]

Kind = Literal[
    "challenge",  # 202 without a body, from a firewall before the provider
    "close",  # the connection ends without an answer
    "code",  # an error answer, in the form the provider uses for that code
    "drip",  # the right answer, byte by byte over `delay_ms`
    "empty",  # 403 without a body
    "hang",  # never an answer
    "html",  # 200 and a web page
    "inner",  # 200 and an inner status other than OK
    "lost",  # the report is taken, then the connection ends without an answer
    "reset",  # the connection is reset
    "slow",  # the right answer, after `delay_ms`
    "truncated",  # 200 and half of the right answer
    "unavailable",  # 503 from the front door
]
ANSWERED_AS_PLANNED = frozenset({"code", "inner"})
ANSWERED_RIGHTLY = frozenset({"drip", "slow"})

_CLOSED = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Latency:
    """Time to answer: base + uniform jitter; for a share a lognormal time, where that is longer."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    base_ms: Milliseconds = 0.0
    jitter_ms: Milliseconds = 0.0
    tail_share: Share = 0.0
    tail_median_ms: Milliseconds = 0.0
    tail_sigma: Annotated[float, Field(ge=0, le=5)] = 0.5


@dataclass(frozen=True, slots=True)
class Throttling:
    """Give a share of the throttled calls a time to retry, if the provider does so."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    retry_after_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    retry_after_share: Share = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong: for whom (provider, key, message_id, arrivals), when, how often, and what.

    `message_id` is a shell pattern. `arrivals`: only the first N arrivals of each id. `from_s`, `to_s`:
    seconds since the plan came into force. Shares of the faults that fit one arrival add up, in their order.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    kind: Kind
    share: Share = 1.0
    provider: ProviderName | None = None
    key: str | None = None
    message_id: Annotated[str, Field(min_length=1)] = "*"
    arrivals: Annotated[int, Field(ge=1)] | None = None
    from_s: Annotated[float, Field(ge=0)] = 0.0
    to_s: Annotated[float, Field(ge=0)] | None = None
    code: str = ""
    message: str = "planned by the simulator"
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    delay_ms: Milliseconds | None = None
    retry_after_ms: Annotated[int, Field(ge=0, le=3_600_000)] | None = None
    taken: bool = False

    def __post_init__(self) -> None:
        """Refuse a fault that says too little or contradicts itself."""
        if self.kind in ANSWERED_AS_PLANNED and not self.code:
            raise ValueError(f"a fault of kind {self.kind!r} needs a code")
        if self.code.lower() == "ok":
            raise ValueError("the code ok is no fault")
        if self.kind in ANSWERED_RIGHTLY and self.delay_ms is None:
            raise ValueError(f"a fault of kind {self.kind!r} needs delay_ms")
        if self.kind in ANSWERED_AS_PLANNED and self.taken:
            raise ValueError(f"a report answered with kind {self.kind!r} is never taken")
        if self.to_s is not None and self.to_s <= self.from_s:
            raise ValueError("to_s must be after from_s")

    @property
    def before_the_door(self) -> bool:
        """Return whether the call fails before it is checked and counted."""
        return not self.taken and self.kind not in ANSWERED_AS_PLANNED | ANSWERED_RIGHTLY | {"lost"}


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that may change while the simulator runs; by default a provider without faults."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED

    seed: int = 0
    latency: Latency = field(default_factory=Latency)
    faults: tuple[Fault, ...] = ()
    rates: Mapping[str, Rate] = field(default_factory=dict[str, int])
    """Requests/s by key id, over the keys' own."""
    throttling: Throttling = field(default_factory=Throttling)
    door_jitter_ms: Annotated[float, Field(ge=0, le=10_000)] = (
        0.0  # uniform delay before an arrival is recorded
    )
    clock_offset_s: Annotated[float, Field(ge=-1e9, le=1e9)] = 0.0  # how far the provider's clock is ahead


_PLAN = TypeAdapter(Plan)


def parse_plan(data: object, *, at: str = "plan") -> Plan:
    """Return the plan in `data` (decoded TOML or JSON); InvalidSettingsError with a line for each fault."""
    return validate(_PLAN, data, at=at)


def plan_data(plan: Plan) -> dict[str, object]:
    """Return a plan as `parse_plan` reads it."""
    data: dict[str, object] = orjson.loads(_PLAN.dump_json(plan))
    return data
