"""Plivo: Conversion Feedback, version 1.

Source: plivo.com/docs/messaging/concepts/conversion-feedback.
"""

from typing import ClassVar

from pydantic import BaseModel, Field
from pydantic_core import to_json

from otpreport import Verification
from providers import base
from providers.base import (
    Answer,
    Outcome,
    PathWord,
    Result,
    Secret,
    SignedRequest,
    Unverified,
    opened,
    required_at_ms,
)
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, bare, json_object, judge, recorded, text

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        # Statuses: errors have a text and no code.
        "429": Result.THROTTLED,
        "503": Result.TRANSIENT,
        "500": Result.UNKNOWN,
        "502": Result.UNKNOWN,
        "504": Result.UNKNOWN,
        "401": Result.ACCOUNT,
        "403": Result.ACCOUNT,
        # A wrong id, or perhaps a message that was sent without `trackable`.
        "404": Result.DOUBTFUL,
        "400": Result.PERMANENT,  # in Plivo's own form of an error, and never by the status alone
    }
)


class PlivoOptions(base.Options):
    """Credentials of a Plivo account."""

    auth_id: PathWord = Field(description="The account's Auth ID.")
    auth_token: Secret = Field(description="Its Auth Token.")


class Plivo(base.Provider):
    """Report verified codes to Plivo; it takes every other message for not converted."""

    name: ClassVar[str] = "plivo"
    endpoint: ClassVar[str] = "https://api.plivo.com"
    rate_limit: ClassVar[int] = 20
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "implied"
    Options: ClassVar[type[BaseModel]] = PlivoOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"auth_id", "auth_token"})
    key_faults: ClassVar[tuple[str, ...]] = ("401",)

    def __init__(self, endpoint: str, options: PlivoOptions) -> None:
        secret, self._key_id = opened(options.auth_token), options.auth_id
        authorization = base.basic(self._key_id, secret)
        self._messages = f"{Endpoint.parse(endpoint).url}v1/account/{self._key_id}/message/"
        self._headers = (("authorization", authorization), ("content-type", "application/json"))
        self._mask = Mask(secret, authorization.removeprefix("Basic "), key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the account by its Auth ID."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the feedback on a message, of which the time is a required part."""
        status = "CONVERTED" if event.verified else "NOT_CONVERTED"
        fields = {"status": status, "timestamp": base.utc(required_at_ms(event, now))}
        return self._request(base.segment(event.message_id), to_json(fields))

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Return what an answer means, which is the same for every event."""
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a feedback without the required members, on a message that does not exist."""
        return self._request(base.NO_UUID, b"{}")

    def probed(self, answer: Answer) -> Outcome:
        """Return what the answer to a probe means."""
        return judge(answer, _read(answer), CODES, self._mask, frozenset({200, 201, 202}))

    def _request(self, message: str, body: bytes) -> SignedRequest:
        return SignedRequest(f"{self._messages}{message}/conversion/", self._headers, body)


def _read(answer: Answer) -> Reply | None:
    """Find the id of the conversion, else an error, whose status is its code, else the status alone."""
    whole = json_object(answer.body) or {}
    api_id = text(whole, "api_id")
    if "error" in whole:
        error = text(whole, "error")
        known = error and api_id and CODES.result(str(answer.status))
        return Reply(str(answer.status), error, api_id, final=False) if known else bare(answer, CODES)
    if answer.status in {200, 201, 202}:
        return recorded(answer, api_id) if text(whole, "conversion_uuid") else None
    return bare(answer, CODES)
