"""MessageBird, the classic REST API: conversions. Not confirmed: no page describes the call, and it was never tried.

Sources: github.com/signalapp/registration-service (MessageBirdClassicConversionReporter), which reports so in
production; github.com/messagebird/go-rest-api for the form of errors.
"""

from typing import ClassVar

from pydantic import BaseModel, Field
from pydantic_core import to_json

from otpreport import Verification
from providers import base
from providers.base import Answer, Outcome, Result, Secret, SignedRequest, Unverified, opened
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, bare, code, first, json_object, judge, recorded, text

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        "429": Result.THROTTLED,  # no code is known
        "2": Result.ACCOUNT,
        "25": Result.ACCOUNT,
        "98": Result.ACCOUNT,
        "99": Result.UNKNOWN,
        "20": Result.DOUBTFUL,
        "9": Result.PERMANENT,
        "10": Result.PERMANENT,
        "21": Result.PERMANENT,
    }
)

_SUCCESS = frozenset({200, 201, 204})


class MessageBirdOptions(base.Options):
    """Credentials of a MessageBird account."""

    access_key: Secret = Field(description="The account's access key.")


class MessageBird(base.Provider):
    """Report verified and unverified codes to MessageBird."""

    name: ClassVar[str] = "messagebird"
    endpoint: ClassVar[str] = "https://rest.messagebird.com"
    rate_limit: ClassVar[int] = 20
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "reported"
    Options: ClassVar[type[BaseModel]] = MessageBirdOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"access_key"})
    key_faults: ClassVar[tuple[str, ...]] = ("2",)

    def __init__(self, endpoint: str, options: MessageBirdOptions) -> None:
        secret = opened(options.access_key)
        self._url = f"{Endpoint.parse(endpoint).url}conversions"
        self._key_id = base.fingerprint(secret)
        self._headers = (("authorization", f"AccessKey {secret}"), ("content-type", "application/json"))
        self._mask = Mask(secret, key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the access key by a digest: it has no public half."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the conversion of a message, which has no time."""
        return self._request({"service": "sms", "id": event.message_id, "success": event.verified})

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Return what an answer means: one with a body has to name the message."""
        return judge(answer, _read(answer, event.message_id), CODES, self._mask, _SUCCESS)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a conversion without the required id and outcome."""
        return self._request({"service": "sms"})

    def probed(self, answer: Answer) -> Outcome:
        """Return what the answer to a probe means."""
        return judge(answer, _read(answer, ""), CODES, self._mask)

    def _request(self, fields: dict[str, object]) -> SignedRequest:
        return SignedRequest(self._url, self._headers, to_json(fields))


def _read(answer: Answer, message_id: str) -> Reply | None:
    """Find the first error, else a success that says nothing or names the message."""
    whole = json_object(answer.body)
    if whole and "errors" in whole:
        error = first(whole, "errors")
        found = code(error, "code") if error else ""
        return Reply(found, text(error or {}, "description"), "", final=False) if found else None
    if answer.status not in _SUCCESS:
        return bare(answer, CODES)
    named = text(whole, "id") if whole else ""
    return recorded(answer) if message_id and (not answer.body or named == message_id) else None
