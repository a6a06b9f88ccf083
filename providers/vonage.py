"""Vonage: the Conversion API for SMS.

Sources: developer.vonage.com/api/conversion, developer.vonage.com/en/messaging/conversion-api/overview.
"""

import time
from functools import lru_cache
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import quote_plus

from pydantic import BaseModel, Field, model_validator

from otpreport import Verification
from providers import base
from providers.base import (
    Answer,
    Outcome,
    Result,
    Secret,
    SignedRequest,
    Unverified,
    Visible,
    opened,
    required_at_ms,
)
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.hmac_key import HmacKey
from providers.masking import Mask
from providers.reply import Reply, bare, judge, recorded

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        # Only statuses are documented, no bodies.
        "401": Result.ACCOUNT,
        "402": Result.ACCOUNT,  # the Conversion API is not switched on for the account
        "420": Result.DOUBTFUL,
        "422": Result.DOUBTFUL,
        "423": Result.DOUBTFUL,
        "429": Result.THROTTLED,
        "500": Result.UNKNOWN,
        "502": Result.UNKNOWN,
        "503": Result.TRANSIENT,
        "504": Result.UNKNOWN,
    }
)

_FORM = ("content-type", "application/x-www-form-urlencoded")
_SUCCESS = frozenset({b"OK", b""})


class VonageOptions(base.Options):
    """Credentials of a Vonage account: its API secret, or its signature secret."""

    api_key: Visible = Field(description="The account's API key.")
    api_secret: Secret | None = Field(default=None, description="Its API secret.")
    signature_secret: Secret | None = Field(
        default=None,
        description="Its signature secret; requests are then signed, and the API secret is not used.",
    )
    signature_method: Annotated[Literal["md5", "sha1", "sha256", "sha512"], base.Stripped] = Field(
        default="sha256", description="The HMAC that the account's signatures use."
    )

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if not (self.api_secret or self.signature_secret):
            raise base.option_missing("api_secret", ", or signature_secret")
        return self


class Vonage(base.Provider):
    """Report verified and unverified codes to Vonage."""

    name: ClassVar[str] = "vonage"
    endpoint: ClassVar[str] = "https://api.nexmo.com"
    rate_limit: ClassVar[int] = 30
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "reported"
    Options: ClassVar[type[BaseModel]] = VonageOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"api_key", "api_secret", "signature_secret"})
    key_faults: ClassVar[tuple[str, ...]] = ("401",)

    def __init__(self, endpoint: str, options: VonageOptions) -> None:
        secret, signing = opened(options.api_secret), opened(options.signature_secret)
        authorization = base.basic(options.api_key, secret)
        self._url = f"{Endpoint.parse(endpoint).url}conversions/sms"
        self._key_id = options.api_key
        self._signing = HmacKey(signing.encode(), options.signature_method) if signing else None
        self._headers = (_FORM,) if signing else (("authorization", authorization), _FORM)
        self._mask = Mask(secret, signing, authorization.removeprefix("Basic "), key_id=options.api_key)

    @property
    def key_id(self) -> str:
        """Name the API key."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build a report: a form, of which the time is a required part."""
        # The official SDK writes True and False; the documentation says true and false.
        delivered = "true" if event.verified else "false"
        second = required_at_ms(event, now, unit_ms=1000) // 1000
        return self._request(
            {"message-id": event.message_id, "delivered": delivered, "timestamp": _written(second)}
        )

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what an answer means, which is the same for every event."""
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a report without the required message id and outcome."""
        return self._request({"timestamp": _written(int(now))})

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means."""
        return judge(answer, _read(answer), CODES, self._mask)

    def _request(self, parameters: dict[str, str]) -> SignedRequest:
        if self._signing:
            parameters["api_key"] = self._key_id
            parameters["sig"] = signature(parameters, self._signing)
        return SignedRequest(self._url, self._headers, _form(parameters))


def signature(parameters: dict[str, str], key: HmacKey) -> str:
    """Return `sig`: over all parameters, sorted by name and not encoded."""
    signed = "".join(
        [f"&{name}={value.replace('&', '_').replace('=', '_')}" for name, value in sorted(parameters.items())]
    )
    return key.sign(signed.encode()).hex()


def _form(parameters: dict[str, str]) -> bytes:
    return "&".join([f"{name}={_quoted(value)}" for name, value in parameters.items()]).encode()


_kept_quoted = lru_cache(maxsize=64)(quote_plus)
"""Of a second's many reports the time is quoted once: it costs as much as the signature."""


def _quoted(value: str) -> str:
    return value if value.isalnum() and value.isascii() else _kept_quoted(value)


@lru_cache(maxsize=8)
def _written(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(second))


def _read(answer: Answer) -> Reply | None:
    """Find `OK` or nothing in a 200, else the status."""
    if answer.status == 200:
        return recorded(answer) if answer.body in _SUCCESS else None
    return bare(answer, CODES)
