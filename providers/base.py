"""What every provider is made of: an event in, a signed request out; an answer in, an `Outcome` out.

A provider does no I/O and knows no clock and no randomness: time and nonce are arguments. To add one:

1. Write `providers/<name>.py`: a subclass of `Provider`, with its options, one `CodeTable` and a reader
   that turns an answer into a `Reply` (`providers/reply.py` judges it).
2. Name the class in `providers/registry.py`.

`tests/unit/providers/test_every_provider.py` then asks for one entry of sample answers and checks the rest.
"""

import enum
import hashlib
import re
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Protocol, TypeAlias
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, StringConstraints
from pydantic_core import PydanticCustomError

from otpreport import Verification

NO_UUID = "00000000-0000-0000-0000-000000000000"
"""The id of no message, for a probe's path."""

_MASKED = ("authorization", "cookie", "key", "secret", "signature", "token")

Visible = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[!-~]{1,256}$")]
"""Text that is valid in a header: visible ASCII without spaces."""

PathWord = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_-]{1,128}$")]
"""An id that stands in a path as it is."""


def _stripped(value: object) -> object:
    return value.strip() if isinstance(value, str) else value


Stripped = BeforeValidator(_stripped)
"""For one of several words: a file's last newline is cut off."""


def _presentable(value: SecretStr) -> SecretStr:
    stripped = value.get_secret_value().strip()
    if not re.fullmatch(r"[!-~]{1,8192}", stripped):
        raise ValueError("is empty or holds something other than visible ASCII")
    return SecretStr(stripped)


Secret = Annotated[SecretStr, AfterValidator(_presentable)]
"""A secret that is valid in a header; a trailing newline, as files have, is removed."""


Unverified: TypeAlias = Literal["reported", "implied", "unsayable"]
"""What becomes of `verified=false`: it is reported; or the provider takes it from silence; or has no word for it."""


class UnreportableError(ValueError):
    """An event that no request to this provider can name: it is refused before anything is sent."""


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


def divided(url: str) -> tuple[str, str]:
    """Return `scheme://host[:port]` of a URL, and its path and query as they are to be sent."""
    slash = url.find("/", len("https://"))
    return (url, "/") if slash < 0 else (url[:slash], url[slash:])


@dataclass(slots=True, repr=False)  # plain, as what follows: one is made for each report
class SignedRequest:
    """A request ready to be sent exactly as it is.

    The signature covers the host of `url`, its path and query byte for byte and the body, so the sender adds the
    `Host` header that belongs to `url`, but re-encodes nothing and adds no `Content-Type`.
    """

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    method: str = "POST"

    def target(self) -> tuple[str, str]:
        """Return `scheme://host[:port]`, and the path and query as they are to be sent."""
        return divided(self.url)

    def __repr__(self) -> str:
        """Show method and place, but no credential and no part of the event, which a path may name."""
        shown = ", ".join(f"{name}: {_shown(name, value)}" for name, value in self.headers)
        return f"SignedRequest({self.method} {self.target()[0]}/, {{{shown}}}, {len(self.body)} bytes)"


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
    """One reporting API of one SMS provider; what has a value here may be left out."""

    name: ClassVar[str]
    endpoint: ClassVar[str]
    """The default base URL. `{option}` stands for an option's value; empty: each account has to name its own."""
    rate_limit: ClassVar[int]
    """The default limit, requests per second."""
    documents_rate: ClassVar[bool] = True
    """False: no limit is documented, and `rate_limit` is where to start with care."""
    deadline: ClassVar[float | None] = None
    """Seconds after the sending when a report is worth nothing any more: the default of `MAX_AGE`."""
    unverified: ClassVar[Unverified]
    """An unverified event is skipped unless it is "reported"; where it is "unsayable", `request` refuses it."""
    asks_for_unverified: ClassVar[bool] = False
    """Whether the provider asks for reports of codes that were not entered: the default of `UNVERIFIED`."""
    has_nonce: ClassVar[bool] = False
    """False: its signature holds none, so none is made; `request` and `probe` get any text."""
    Options: ClassVar[type[BaseModel]]
    credentials: ClassVar[frozenset[str]]
    """Those of the options that are the keys: they may change while a worker runs."""
    key_faults: ClassVar[tuple[str, ...]]
    """The beginnings, in lower case, of codes of class `account` that blame the keys alone; numbers are whole codes."""

    def __init__(self, endpoint: str, options: Any) -> None:
        """Take a base URL (ValueError when it is none) and an instance of the class's own `Options`."""
        ...

    @property
    def key_id(self) -> str:
        """Name the public half of the credentials."""
        ...

    @property
    def owner_id(self) -> str:
        """Name whose requests the provider counts together: the default rate group is made of it."""
        return self.key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the report of `event`, signed for `now` (UNIX seconds) and `nonce` (never used before).

        UnreportableError where it can't be named.
        """
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


def option_missing(option: str, hint: str = "") -> PydanticCustomError:
    """Return the error of a model's validator where one of several options has to be there; `hint` names the others."""
    return PydanticCustomError(
        "option_missing", "{option} is missing{hint}", {"option": option, "hint": hint}
    )


def fingerprint(secret: str) -> str:
    """Return a digest that names a key without a public half."""
    return hashlib.sha256(secret.encode()).hexdigest()[:32]


def basic(user: str, password: str) -> str:
    """Return the `Authorization` of HTTP's Basic scheme."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


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


def required_at_ms(event: Verification, now: float, *, unit_ms: int = 1) -> int:
    """Return the time to report in UNIX ms for an API that takes no report without one.

    It is that of `reported_at_ms`; where that is not after `sent_at`, a second after it, but never in the future.
    """
    reported = reported_at_ms(event, now, unit_ms=unit_ms)
    if reported is None:
        reported = min((event.sent_at_ms or 0) + 1000, int(now * 1000))
    return reported - reported % unit_ms


def utc(at_ms: int) -> str:
    """Write a time in UNIX ms as ISO 8601 has it, in UTC."""
    second, ms = divmod(at_ms, 1000)
    return f"{_second(second)}.{ms:03}Z"


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def segment(text: str) -> str:
    """Encode a text as one segment of a path, to be sent as it is; UnreportableError for `.`, `..` and nothing.

    They can't be encoded: clients and servers remove them, with what stands before.
    """
    if text in {"", ".", ".."}:
        raise UnreportableError("the message id is one that no URL can hold")
    return quote(text, safe="")


def _shown(name: str, value: str) -> str:
    return "***" if any(word in name.lower() for word in _MASKED) else value
