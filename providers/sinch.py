"""Sinch: delivery feedback of the SMS API, version 1.

Sources: developers.sinch.com/docs/sms/tutorials/node/delivery-feedback, github.com/sinch/sinch-sdk-python (batches).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from otpreport import Verification
from providers import base
from providers.base import Answer, Outcome, PathWord, Result, Secret, SignedRequest, Unverified, opened
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, bare, code, json_object, judge, recorded, text

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        # Statuses: only 400 and 403 have a body with a code.
        "429": Result.THROTTLED,  # too many outstanding requests
        "500": Result.TRANSIENT,  # "the request was not processed"
        "503": Result.TRANSIENT,
        "401": Result.ACCOUNT,
        "404": Result.DOUBTFUL,
        # Our request is wrong for every event.
        "405": Result.ACCOUNT,
        "415": Result.ACCOUNT,
        "syntax_invalid_json": Result.ACCOUNT,
        # A batch that went to a group wants its recipients named; an event has none.
        "syntax_constraint_violation": Result.PERMANENT,
        "syntax_invalid_parameter_format": Result.PERMANENT,
        # Of sending, not expected.
        "missing_callback_url": Result.PERMANENT,
        "unknown_campaign": Result.PERMANENT,
        "unknown_group": Result.PERMANENT,
    }
)
"""With another code, a 403 ("a referenced resource doesn't exist") is doubtful, as any unlisted code is."""

_ALL = b'{"recipients":[]}'
"""Nobody named: it holds for all recipients of the batch, of which a code has one."""


class SinchOptions(base.Options):
    """Credentials of a Sinch service plan."""

    service_plan_id: PathWord = Field(description="Id of the service plan that sent the message.")
    api_token: Secret = Field(description="The service plan's API token.")
    region: Annotated[Literal["us", "eu", "au", "br", "ca"], base.Stripped] = Field(
        default="us", description="Region of the service plan, part of the default endpoint."
    )


class Sinch(base.Provider):
    """Report verified codes to Sinch; the message id is that of the batch."""

    name: ClassVar[str] = "sinch"
    endpoint: ClassVar[str] = "https://{region}.sms.api.sinch.com"
    rate_limit: ClassVar[int] = 30
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "unsayable"
    Options: ClassVar[type[BaseModel]] = SinchOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"service_plan_id", "api_token"})
    key_faults: ClassVar[tuple[str, ...]] = ("401",)

    def __init__(self, endpoint: str, options: SinchOptions) -> None:
        secret, self._key_id = opened(options.api_token), options.service_plan_id
        self._batches = f"{Endpoint.parse(endpoint).url}xms/v1/{self._key_id}/batches/"
        self._headers = (("authorization", f"Bearer {secret}"), ("content-type", "application/json"))
        self._mask = Mask(secret, key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the service plan, whose requests are counted together."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the feedback on a batch, which has no time."""
        if not event.verified:
            raise ValueError("Sinch has no way to report verified=false")
        # The official SDK leaves a `/` of the id as it is, and so changes the path.
        return self._request(base.segment(event.message_id))

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Say what an answer means, which is the same for every event."""
        return self.probed(answer)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a feedback on a batch that does not exist."""
        return self._request("otpreport-probe")

    def probed(self, answer: Answer) -> Outcome:
        """Say what the answer to a probe means."""
        return judge(answer, _read(answer), CODES, self._mask, frozenset({202}))

    def _request(self, batch: str) -> SignedRequest:
        return SignedRequest(f"{self._batches}{batch}/delivery_feedback", self._headers, _ALL)


def _read(answer: Answer) -> Reply | None:
    """Find a 202 without a byte, else the error's code, else the status."""
    if answer.status == 202:
        return None if answer.body else recorded(answer)
    whole = None if answer.status == 401 else json_object(answer.body)
    found = "" if whole is None else code(whole, "code")
    if whole is None or not found:
        return bare(answer, CODES)
    return Reply(found, text(whole, "text"), "", final=False)
