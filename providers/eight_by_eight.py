"""8x8: SMS Success Feedback, version 1.

Sources: developer.8x8.com/connect/reference/api-sms-feedback, developer.8x8.com/connect/docs/tutorial-sms-feedback-api,
.../docs/api-error-codes, .../docs/api-rate-limiting.
"""

from typing import Annotated, ClassVar

from pydantic import BaseModel, Field, StringConstraints
from pydantic_core import to_json

from otpreport import Verification
from providers import base
from providers.base import (
    Answer,
    Outcome,
    Result,
    Secret,
    SignedRequest,
    Unverified,
    opened,
    reported_at_ms,
)
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, code, json_object, judge, recorded, text

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        "429": Result.THROTTLED,  # the status, whatever code it comes with
        "1100": Result.THROTTLED,
        "2000": Result.UNKNOWN,
        "1200": Result.ACCOUNT,
        "1201": Result.ACCOUNT,
        "1001": Result.ACCOUNT,  # no such sub-account
        "1014": Result.ACCOUNT,  # http in place of https
        "2001": Result.ACCOUNT,
        "2002": Result.ACCOUNT,
        "2003": Result.ACCOUNT,
        "1300": Result.DOUBTFUL,  # a wrong id, another sub-account's, or 15 minutes have passed
        "1400": Result.DOUBTFUL,
        "1000": Result.PERMANENT,
        **{str(number): Result.PERMANENT for number in range(1002, 1013)},
    }
)
"""Codes of chat apps (3xxx) are not expected: as unlisted ones they are doubtful."""


class EightByEightOptions(base.Options):
    """Credentials of an 8x8 account, and its sub-account that sends."""

    subaccount_id: Annotated[
        str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9._&-]{3,50}$")
    ] = Field(description="Id of the sub-account that sent the message.")
    api_key: Secret = Field(description="The account's API key.")


class EightByEight(base.Provider):
    """Report verified and unverified codes to 8x8."""

    name: ClassVar[str] = "8x8"
    endpoint: ClassVar[str] = "https://sms.8x8.com"
    rate_limit: ClassVar[int] = 1800
    deadline: ClassVar[float | None] = 15 * 60.0
    unverified: ClassVar[Unverified] = "reported"
    Options: ClassVar[type[BaseModel]] = EightByEightOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"subaccount_id", "api_key"})
    key_faults: ClassVar[tuple[str, ...]] = ("1200",)

    def __init__(self, endpoint: str, options: EightByEightOptions) -> None:
        secret, self._key_id = opened(options.api_key), options.subaccount_id
        subaccount = base.segment(options.subaccount_id)
        self._messages = f"{Endpoint.parse(endpoint).url}api/v1/subaccounts/{subaccount}/messages/"
        self._headers = (("authorization", f"Bearer {secret}"), ("content-type", "application/json"))
        self._mask = Mask(secret, key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the sub-account, whose requests are counted together."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the feedback on a message."""
        fields = {"outcome": "success" if event.verified else "failure"}
        at = reported_at_ms(event, now)
        if at is not None:
            fields["timestamp"] = base.utc(at)
        return self._request(base.segment(event.message_id), to_json(fields))

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what an answer means, which is the same for every event."""
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a feedback without the required outcome, on a message that does not exist."""
        return self._request(base.NO_UUID, b"{}")

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means."""
        return judge(answer, _read(answer), CODES, self._mask)

    def _request(self, message: str, body: bytes) -> SignedRequest:
        return SignedRequest(f"{self._messages}{message}/feedback", self._headers, body)


def _read(answer: Answer) -> Reply | None:
    """Find a 200 without a byte, else the error's code."""
    if not answer.body:
        return recorded(answer) if answer.status == 200 else None
    whole = json_object(answer.body)
    found = "" if whole is None else code(whole, "code")
    if whole is None or not found:
        return None
    throttled = answer.status == 429
    return Reply("429" if throttled else found, text(whole, "message"), text(whole, "errorId"), final=False)
