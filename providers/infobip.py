"""Infobip: confirm a conversion, version 1.

Sources: infobip.com/docs/sms/api#track-conversion, operation `log-end-tag` of infobip-sms-openapi.json
(github.com/api-evangelist/infobip).
"""

from typing import ClassVar

from pydantic import BaseModel, Field

from otpreport import Verification
from providers import base
from providers.base import Answer, Outcome, Result, Secret, SignedRequest, Unverified, opened
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, json_object, judge, member, recorded, text

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        # Older calls have names, newer ones E and the status.
        "TOO_MANY_REQUESTS": Result.THROTTLED,
        "E429": Result.THROTTLED,
        "SERVICE_UNAVAILABLE": Result.TRANSIENT,
        "GENERAL_ERROR": Result.UNKNOWN,
        "E500": Result.UNKNOWN,
        "UNAUTHORIZED": Result.ACCOUNT,
        "E401": Result.ACCOUNT,
        "FORBIDDEN": Result.ACCOUNT,  # the key lacks the scope sms:manage
        "E403": Result.ACCOUNT,
        # A wrong id, or perhaps a message that was sent without the tracking flag.
        "NOT_FOUND": Result.DOUBTFUL,
        "E404": Result.DOUBTFUL,
        "BAD_REQUEST": Result.PERMANENT,
        "E400": Result.PERMANENT,
    }
)


class InfobipOptions(base.Options):
    """Credentials of an Infobip account."""

    api_key: Secret = Field(description="An API key with the scope `sms:manage`.")


class Infobip(base.Provider):
    """Report verified codes to Infobip, at the account's own host."""

    name: ClassVar[str] = "infobip"
    endpoint: ClassVar[str] = ""
    rate_limit: ClassVar[int] = 50
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "unsayable"
    Options: ClassVar[type[BaseModel]] = InfobipOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"api_key"})
    key_faults: ClassVar[tuple[str, ...]] = ("unauthorized", "e401")

    def __init__(self, endpoint: str, options: InfobipOptions) -> None:
        secret = opened(options.api_key)
        self._key_id = base.fingerprint(secret)
        self._log = f"{Endpoint.parse(endpoint).url}ct/1/log/end/"
        # Without `Accept` the answer is XML.
        self._headers = (("authorization", f"App {secret}"), ("accept", "application/json"))
        self._mask = Mask(secret, key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the API key by a digest: it has no public half."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the report of a conversion, which has neither a time nor a body."""
        if not event.verified:
            raise ValueError("Infobip has no way to report verified=false")
        return self._request(base.segment(event.message_id))

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Return what an answer means, which is the same for every event."""
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a report of a message that does not exist."""
        return self._request("otpreport-probe")

    def probed(self, answer: Answer) -> Outcome:
        """Return what the answer to a probe means."""
        return judge(answer, _read(answer), CODES, self._mask)

    def _request(self, message: str) -> SignedRequest:
        return SignedRequest(f"{self._log}{message}", self._headers, b"")


def _read(answer: Answer) -> Reply | None:
    """Find the error in one of its two forms, else the key of the process."""
    whole = json_object(answer.body)
    if whole is None:
        return None
    if "requestError" in whole:
        error = member(member(whole, "requestError"), "serviceException") or {}
        return _error(text(error, "messageId"), text(error, "text"))
    if "errorCode" in whole:
        return _error(text(whole, "errorCode"), text(whole, "description"))
    process = text(whole, "processKey")
    return recorded(answer, process) if process else None


def _error(code: str, message: str) -> Reply | None:
    return Reply(code, message, "", final=False) if code else None
