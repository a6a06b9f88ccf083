"""What a web app reports: that a user typed a one-time password back, or never did."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, StringConstraints, ValidationError

ACCOUNT_PATTERN = r"^[a-z0-9_-]{1,64}$"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)


def _moment(value: object) -> object:
    """Read UNIX milliseconds as a datetime; ValueError for a time no OTP can have."""
    if type(value) is int:
        try:
            value = _EPOCH + value * _MILLISECOND
        except OverflowError as error:
            raise ValueError("is after the year 9999: give UNIX milliseconds") from error
    # Seconds given for milliseconds fall into January 1970; no SMS provider is that old.
    if isinstance(value, datetime) and value.tzinfo is not None:
        if value < _EARLIEST:
            raise ValueError("is before the year 2000: give UNIX milliseconds, not seconds")
        if value > _LATEST:
            raise ValueError("is after the year 9999 in UTC")
    return value


def milliseconds(moment: datetime) -> int:
    """Return an aware datetime as UNIX milliseconds, rounded down."""
    return (moment - _EPOCH) // _MILLISECOND


Moment = Annotated[AwareDatetime, BeforeValidator(_moment)]
"""An aware datetime; UNIX milliseconds are read too, because that is how it travels."""


class Verification(BaseModel):
    """One OTP whose fate is known, as the provider that sent it shall hear it.

    `account` names the configured account the OTP was sent through, `message_id` is the provider's id of
    that SMS (Tencent `SerialNo`, Alibaba `MessageId`). `occurred_at` is when the user entered the code or,
    with `verified=False`, when the code expired. `app_id` overrides the account's Tencent `SmsSdkAppId`.
    Wrong fields raise `pydantic.ValidationError`, a `ValueError`, which names them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    account: Annotated[str, StringConstraints(pattern=ACCOUNT_PATTERN)]
    message_id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    occurred_at: Moment
    verified: bool = True
    sent_at: Moment | None = None
    app_id: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None

    @property
    def occurred_at_ms(self) -> int:
        """`occurred_at` as UNIX milliseconds."""
        return milliseconds(self.occurred_at)

    @property
    def sent_at_ms(self) -> int | None:
        """`sent_at` as UNIX milliseconds."""
        return None if self.sent_at is None else milliseconds(self.sent_at)

    def to_wire(self) -> dict[str, object]:
        """Return the JSON object that travels: times as UNIX milliseconds, what is unset left out."""
        wire: dict[str, object] = {
            "account": self.account,
            "message_id": self.message_id,
            "occurred_at": milliseconds(self.occurred_at),
            "verified": self.verified,
        }
        if self.sent_at is not None:
            wire["sent_at"] = milliseconds(self.sent_at)
        if self.app_id is not None:
            wire["app_id"] = self.app_id
        return wire

    @classmethod
    def from_wire(cls, data: Mapping[str, object]) -> Self:
        """Read what `to_wire` wrote; ValueError names the wrong fields, unknown ones are ignored."""
        known = {name: data[name] for name in _FIELDS if name in data}
        try:
            return cls.model_validate(known)
        except ValidationError as error:
            raise ValueError(_faults(error)) from None


_FIELDS = tuple(Verification.model_fields)


def _faults(error: ValidationError) -> str:
    """Return one line: each wrong field with what is wrong."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in details)
