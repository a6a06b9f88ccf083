"""What every provider is made of: an event in, a signed request out; an answer in, an `Outcome` out.

A provider does no I/O and knows no clock and no randomness: time and nonce are arguments. To add one:

1. Write `providers/<name>.py`: a class that fits `Provider`, with its options, one `CodeTable` and a reader
   that turns an answer's body into a `Reply` (`providers/reply.py` judges it).
2. Name the class in `providers/registry.py`.

`tests/unit/providers/test_every_provider.py` then asks for one entry of sample answers and checks the rest.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, StringConstraints

from otpreport import Verification

_MASKED = ("authorization", "cookie", "key", "secret", "signature", "token")

Visible = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[!-~]{1,256}$")]
"""Text that is valid in a header: visible ASCII without spaces."""


def _presentable(value: SecretStr) -> SecretStr:
    stripped = value.get_secret_value().strip()
    if not re.fullmatch(r"[!-~]{1,8192}", stripped):
        raise ValueError("is empty or holds something other than visible ASCII")
    return SecretStr(stripped)


Secret = Annotated[SecretStr, AfterValidator(_presentable)]
"""A secret that is valid in a header; a trailing newline, as files have, is removed."""


class Result(enum.StrEnum):
    """The class of an answer; tasks/retry.py decides by it what to do next."""

    DELIVERED = "delivered"
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"
    """Nothing left this machine: no provider says so."""
    DOUBTFUL = "doubtful"
    CLOCK = "clock"
    ACCOUNT = "account"
    PERMANENT = "permanent"


@dataclass(slots=True, repr=False)  # plain, as what follows: one is made for each report
class SignedRequest:
    """A POST ready to be sent exactly as it is.

    The signature covers the host of `url`, its query byte for byte and the body, so the sender adds the
    `Host` header that belongs to `url`, but re-encodes nothing and adds no `Content-Type`.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __repr__(self) -> str:
        """Show method and place, but no credential and no part of the event."""
        shown = ", ".join(f"{name}: {_shown(name, value)}" for name, value in self.headers)
        return f"SignedRequest(POST {self.url.partition('?')[0]}, {{{shown}}}, {len(self.body)} bytes)"


@dataclass(slots=True)
class Answer:
    """An HTTP response; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Outcome:
    """What an answer means; `retry_after` is in seconds. The texts are the provider's, bounded and masked."""

    result: Result
    code: str = ""
    message: str = ""
    request_id: str = ""
    retry_after: float | None = None


class Options(BaseModel):
    """Credentials and settings that only one provider knows; errors and `repr` hide every value given."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, coerce_numbers_to_str=True
    )


class Provider(Protocol):
    """One reporting API of one SMS provider."""

    name: ClassVar[str]
    endpoint: ClassVar[str]
    """The default base URL."""
    rate_limit: ClassVar[int]
    """The documented limit, requests per second."""
    reports_unverified: ClassVar[bool]
    """False: it has no way to say `verified=false`; such events are skipped and `request` refuses them."""
    has_nonce: ClassVar[bool]
    """False: its signature holds none, so none is made; `request` and `probe` get any text."""
    Options: ClassVar[type[BaseModel]]
    credentials: ClassVar[frozenset[str]]
    """Those of the options that are the keys: they may change while a worker runs."""
    key_faults: ClassVar[tuple[str, ...]]
    """The beginnings, in lower case, of codes of class `account` that blame the keys and nothing else."""

    def __init__(self, endpoint: str, options: Any) -> None:
        """Take a base URL (ValueError when it is none) and an instance of the class's own `Options`."""
        ...

    @property
    def key_id(self) -> str:
        """Name the public half of the credentials: the provider counts requests per owner of it."""
        ...

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the report of `event`, signed for `now` (UNIX seconds) and `nonce` (never used before)."""
        ...

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what `answer` means for `event`; raises for no answer whatever."""
        ...

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a report that names no message and no outcome, so that there is nothing to record."""
        ...

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means; raises for no answer whatever."""
        ...


def opened(secret: SecretStr | None) -> str:
    """Return an optional secret in the clear; empty when there is none."""
    return "" if secret is None else secret.get_secret_value()


def reported_at_ms(event: Verification, now: float, *, unit_ms: int = 1) -> int | None:
    """Return the time to report in UNIX ms, a whole number of `unit_ms`; None: leave it out.

    It is min(`occurred_at`, now - 1 s), since providers refuse the future and a clock may be fast; where
    that is not after `sent_at` the provider shall take its own time.
    """
    latest = min(event.occurred_at_ms, int(now * 1000) - 1000)
    reported = latest - latest % unit_ms
    return None if event.sent_at_ms is not None and reported <= event.sent_at_ms else reported


def _shown(name: str, value: str) -> str:
    return "***" if any(word in name.lower() for word in _MASKED) else value
