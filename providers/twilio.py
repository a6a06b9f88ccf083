"""Twilio: Message Feedback, version 2010-04-01.

Sources: twilio.com/docs/messaging/api/message-feedback-resource, twilio.com/docs/api/errors,
github.com/twilio/twilio-oai (twilio_api_v2010.json).
"""

from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from otpreport import Verification
from providers import base
from providers.base import Answer, Outcome, Result, Secret, SignedRequest, Unverified, opened
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, code, json_object, judge, recorded, text

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        # Too many requests at once; Twilio: "never processed and always safe to retry".
        "20429": Result.THROTTLED,
        "20503": Result.TRANSIENT,
        "20500": Result.UNKNOWN,
        "20504": Result.UNKNOWN,
        "20003": Result.ACCOUNT,
        "20008": Result.ACCOUNT,
        "70051": Result.ACCOUNT,
        "10001": Result.ACCOUNT,
        "20005": Result.ACCOUNT,
        "20006": Result.ACCOUNT,
        "20010": Result.ACCOUNT,
        "20403": Result.ACCOUNT,
        # A request of ours that is wrong for every event, or what lies on the way: method, TLS.
        "20004": Result.ACCOUNT,
        "20011": Result.ACCOUNT,
        "20012": Result.ACCOUNT,
        "20426": Result.ACCOUNT,
        # A wrong id, another account's, or perhaps a message that was sent without ProvideFeedback.
        "20404": Result.DOUBTFUL,
        "20409": Result.DOUBTFUL,
        "20410": Result.DOUBTFUL,
        "20412": Result.DOUBTFUL,
        "20413": Result.PERMANENT,
        "20422": Result.PERMANENT,
        "20423": Result.PERMANENT,
    }
)
"""Codes of sending (21xxx, 30xxx, 60xxx) are not expected: as unlisted ones they are doubtful."""

_FORM = ("content-type", "application/x-www-form-urlencoded")


def sid(prefix: str) -> StringConstraints:
    """Return what an id of Twilio's looks like: two letters and 32 hex digits."""
    return StringConstraints(strip_whitespace=True, pattern=rf"^{prefix}[0-9a-fA-F]{{32}}$")


class TwilioOptions(base.Options):
    """Credentials of a Twilio account: its auth token, or an API key of it."""

    account_sid: Annotated[str, sid("AC")] = Field(description="SID of the account that sent the message.")
    auth_token: Secret | None = Field(default=None, description="The account's auth token.")
    api_key_sid: Annotated[str, sid("SK")] | None = Field(
        default=None, description="SID of an API key, used in place of the auth token."
    )
    api_key_secret: Secret | None = Field(default=None, description="Secret of that API key.")

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if self.api_key_sid and not self.api_key_secret:
            raise base.option_missing("api_key_secret")
        if self.api_key_secret and not self.api_key_sid:
            raise base.option_missing("api_key_sid")
        if not (self.auth_token or self.api_key_sid):
            raise base.option_missing("auth_token", ", or give api_key_sid and api_key_secret")
        return self


class Twilio(base.Provider):
    """Report verified codes to Twilio; it takes every other message for unconfirmed."""

    name: ClassVar[str] = "twilio"
    endpoint: ClassVar[str] = "https://api.twilio.com"
    rate_limit: ClassVar[int] = 100
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "implied"
    Options: ClassVar[type[BaseModel]] = TwilioOptions
    credentials: ClassVar[frozenset[str]] = frozenset(
        {"account_sid", "auth_token", "api_key_sid", "api_key_secret"}
    )
    key_faults: ClassVar[tuple[str, ...]] = ("20003", "20008", "70051")
    _codes: ClassVar[CodeTable] = CODES
    _statuses: ClassVar[frozenset[int]] = frozenset({200, 201})
    _path: ClassVar[str] = "2010-04-01/Accounts/{account_sid}/Messages/{{id}}/Feedback.json"
    _nowhere: ClassVar[str] = f"SM{'0' * 32}"
    _parameter: ClassVar[str] = "Outcome"
    _words: ClassVar[tuple[str, str]] = ("unconfirmed", "confirmed")

    def __init__(self, endpoint: str, options: TwilioOptions) -> None:
        self._key_id = options.api_key_sid or options.account_sid
        secret = opened(options.api_key_secret if options.api_key_sid else options.auth_token)
        authorization = base.basic(self._key_id, secret)
        self._url = Endpoint.parse(endpoint).url + self._path.format_map(dict(options))
        self._account_sid = options.account_sid
        self._headers = (("authorization", authorization), _FORM)
        self._mask = Mask(secret, authorization.removeprefix("Basic "), key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the user that signs in: the account, or its API key."""
        return self._key_id

    @property
    def owner_id(self) -> str:
        """Name the account: Twilio counts the requests of all its keys together."""
        return self._account_sid

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build a report: the outcome of a message, which has no time."""
        sent = f"{self._parameter}={self._words[event.verified]}"
        return self._request(base.segment(event.message_id), sent.encode())

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what an answer means: it has to repeat what was sent."""
        reply = self._read(answer, self._words[event.verified])
        return judge(answer, reply, self._codes, self._mask, self._statuses)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a report without the required outcome, on a message that does not exist."""
        return self._request(self._nowhere, b"")

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means."""
        return judge(answer, self._read(answer, ""), self._codes, self._mask)

    def _request(self, message: str, body: bytes) -> SignedRequest:
        return SignedRequest(self._url.replace("{id}", message), self._headers, body)

    def _read(self, answer: Answer, sent: str) -> Reply | None:
        """Find the error's code, else the outcome that was sent."""
        whole = json_object(answer.body)
        if whole is None:
            return None
        request_id = answer.headers.get("twilio-request-id", "")
        if (found := code(whole, "code")) or not sent:
            return Reply(found, text(whole, "message"), request_id, final=False) if found else None
        return recorded(answer, request_id) if text(whole, self._parameter.lower()) == sent else None
