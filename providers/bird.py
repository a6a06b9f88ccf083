"""Bird: conversions of the Channels API. Not confirmed: written from its page alone, and never tried.

Source: docs.bird.com/api/channels-api/api-reference/conversions-sharing. It names neither the member of the time nor
an answer; `timestamp`, and what counts as success, are what the page suggests.
"""

from typing import ClassVar

from pydantic import BaseModel, Field
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
    Visible,
    opened,
    reported_at_ms,
)
from providers.codes import CodeTable
from providers.endpoint import Endpoint
from providers.masking import Mask
from providers.reply import Reply, bare, json_object, judge, recorded, text

CODES = CodeTable(
    {
        "recorded": Result.DELIVERED,
        "400": Result.DOUBTFUL,
        "401": Result.ACCOUNT,
        "403": Result.ACCOUNT,
        "404": Result.DOUBTFUL,
        "422": Result.DOUBTFUL,
        "429": Result.THROTTLED,
        "500": Result.UNKNOWN,
        "502": Result.UNKNOWN,
        "503": Result.TRANSIENT,
        "504": Result.UNKNOWN,
    }
)

_SUCCESS = frozenset({200, 201, 202})


class BirdOptions(base.Options):
    """Credentials of a Bird workspace, and the channel that sent."""

    workspace_id: Visible = Field(description="Id of the workspace.")
    access_key: Secret = Field(description="An access key of the workspace.")
    channel_id: Visible = Field(description="Id of the channel that sent the message.")


class Bird(base.Provider):
    """Report verified and unverified codes to Bird."""

    name: ClassVar[str] = "bird"
    endpoint: ClassVar[str] = "https://api.bird.com"
    rate_limit: ClassVar[int] = 20
    documents_rate: ClassVar[bool] = False
    unverified: ClassVar[Unverified] = "reported"
    Options: ClassVar[type[BaseModel]] = BirdOptions
    credentials: ClassVar[frozenset[str]] = frozenset({"access_key", "workspace_id"})
    key_faults: ClassVar[tuple[str, ...]] = ("401",)

    def __init__(self, endpoint: str, options: BirdOptions) -> None:
        secret, self._key_id = opened(options.access_key), options.workspace_id
        workspace, channel = base.segment(options.workspace_id), base.segment(options.channel_id)
        self._messages = f"{Endpoint.parse(endpoint).url}workspaces/{workspace}/channels/{channel}/messages/"
        self._headers = (("authorization", f"AccessKey {secret}"), ("content-type", "application/json"))
        self._mask = Mask(secret, key_id=self._key_id)

    @property
    def key_id(self) -> str:
        """Name the workspace: an access key has no public half."""
        return self._key_id

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        """Build the conversion of a message; without the method of entering, whose name is not known."""
        fields = {"type": "otp", "status": _status(event)}
        at = reported_at_ms(event, now)
        if at is not None:
            fields["timestamp"] = base.utc(at)
        return self._request(base.segment(event.message_id), to_json(fields))

    def outcome(self, answer: Answer, event: Verification) -> Outcome:
        """Return what an answer means: one with a body has to repeat what was sent."""
        return judge(answer, _read(answer, _status(event)), CODES, self._mask, _SUCCESS)

    def probe(self, *, now: float, nonce: str) -> SignedRequest:
        """Build a conversion without the required type and status, of a message that does not exist."""
        return self._request(base.NO_UUID, b"{}")

    def probed(self, answer: Answer) -> Outcome:
        """Return what the answer to a probe means."""
        return judge(answer, bare(answer, CODES), CODES, self._mask)

    def _request(self, message: str, body: bytes) -> SignedRequest:
        return SignedRequest(f"{self._messages}{message}/conversions", self._headers, body)


def _status(event: Verification) -> str:
    return "converted" if event.verified else "not_converted"


def _read(answer: Answer, sent: str) -> Reply | None:
    """Find a success that says nothing, or what was sent; else the status."""
    if answer.status not in _SUCCESS:
        return bare(answer, CODES)
    whole = json_object(answer.body)
    status = sent if not answer.body else "" if whole is None else text(whole, "status")
    return recorded(answer) if status == sent else None
