"""What a web app reports: that an OTP was sent, and that its user typed it back or never did.

Plain classes that check themselves: pydantic took a third of the time and memory of `import otpreport`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

from otpreport import foreign

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime.max.replace(tzinfo=UTC)
_EARLIEST_MS, _LATEST_MS = ((bound - _EPOCH) // _MILLISECOND for bound in (_EARLIEST, _LATEST))
LONGEST = 256
"""Characters of an id."""
_LONGEST_NAME = 64
_SENT_LATER = "sent_at: is after occurred_at"
_BETTER = "use datetime.now(UTC)"
_PARSED = "use datetime.fromisoformat, with a time zone"
_MISSING: Any = object()

_Readers: TypeAlias = "Mapping[str, Callable[[object], object]]"

_SHORTEST_LIFE, _LONGEST_LIFE = 30, 5110
"""Seconds that an OTP may be valid; the second is what the tracker can store."""

_is_account = re.compile(r"[a-z0-9_-]{1,64}").fullmatch
_is_country = re.compile(r"[A-Z]{2}").fullmatch
_set = object.__setattr__


def milliseconds(moment: datetime) -> int:
    """Return an aware datetime as UNIX milliseconds, rounded down."""
    since = moment - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000


class _Checked:
    """A frozen dataclass that checks itself, and has what pydantic's models have under their names."""

    __slots__ = ()

    __pydantic_config__: ClassVar[object] = {"extra": "forbid", "strict": True}
    """For apps that have pydantic: an event may be a field of a model, or a body of FastAPI."""

    if not TYPE_CHECKING:

        def __post_init__(self) -> None:
            """Check what pydantic has filled in."""
            self.__init__(**self.model_dump())

    @classmethod
    def _readers(cls) -> _Readers:
        """Return what checks each field."""
        raise NotImplementedError

    def model_dump(self) -> dict[str, Any]:
        """Return the fields."""
        return {name: getattr(self, name) for name in self._readers()}

    @classmethod
    def model_validate(cls, data: Mapping[str, Any]) -> Self:
        """Make an event of fields; ValueError names the wrong ones."""
        return cls(**data)

    @classmethod
    def model_construct(cls, **values: object) -> Self:
        """Make an event of fields that nothing checks; one that is wrong raises ValueError when it is reported."""
        event = cls.__new__(cls)
        for name, value in {**_defaults(cls), **values}.items():
            _set(event, name, value)
        return event

    def model_copy(self, *, update: Mapping[str, object] | None = None) -> Self:
        """Return an event with other fields that nothing checks; `dataclasses.replace` checks them."""
        return self.model_construct(**self.model_dump() | dict(update or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification(_Checked):
    """One OTP whose result is known, as it is reported to the provider that sent it.

    `account` names the configured account the OTP was sent through, `message_id` is the provider's id of
    that SMS (Tencent `SerialNo`, Alibaba `MessageId`). `occurred_at` is when the user entered the code or,
    with `verified=False`, when the code expired. `app_id` overrides the account's Tencent `SmsSdkAppId`.
    Times are aware datetimes; UNIX milliseconds, the format on the wire, are accepted too. `sent_at` may not
    be after `occurred_at`.
    Wrong, missing and unknown fields raise ValueError, which names them and shows no value.
    """

    account: str
    message_id: str
    occurred_at: datetime
    verified: bool = True
    sent_at: datetime | None = None
    app_id: str | None = None

    if not TYPE_CHECKING:  # type checkers see the one of a dataclass; at run time that raises TypeErrors

        def __init__(
            self,
            *,
            account: object = _MISSING,
            message_id: object = _MISSING,
            occurred_at: object = _MISSING,
            verified: object = True,
            sent_at: object = None,
            app_id: object = None,
            **unknown: object,
        ) -> None:
            try:
                _set(self, "account", _account(account))
                _set(self, "message_id", _text(message_id))
                _set(self, "occurred_at", _moment(occurred_at))
                _set(self, "verified", _flag(verified))
                _set(self, "sent_at", None if sent_at is None else _moment(sent_at))
                _set(self, "app_id", None if app_id is None else _text(app_id))
                valid = not unknown
            except ValueError:
                valid = False
            if not valid:
                given = (account, message_id, occurred_at, verified, sent_at, app_id)
                raise ValueError(_faults(dict(zip(_READERS, given, strict=True)) | unknown, _READERS))
            if sent_at is not None and self.sent_at > self.occurred_at:
                raise ValueError(_SENT_LATER)

    @classmethod
    def _readers(cls) -> _Readers:
        return _READERS

    @property
    def occurred_at_ms(self) -> int:
        """`occurred_at` as UNIX milliseconds."""
        return milliseconds(self.occurred_at)

    @property
    def sent_at_ms(self) -> int | None:
        """`sent_at` as UNIX milliseconds."""
        return None if self.sent_at is None else milliseconds(self.sent_at)

    def to_wire(self) -> dict[str, object]:
        """Return the JSON object of the wire format: times in UNIX milliseconds, unset fields left out."""
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
    def from_wire(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_wire` wrote; ValueError names the wrong fields, unknown ones are ignored.

        Times are also read as floats, ISO 8601 text with a zone, and datetimes as kombu writes them. A `sent_at` after
        `occurred_at` is accepted: two machines' clocks may differ, and the report must not be lost.
        """
        fields = data if FIELDS.issuperset(data) else {name: data[name] for name in _READERS if name in data}
        try:
            return cls(**fields)
        except ValueError:
            read = _of_another_producer({**_REQUIRED, **fields}, _ON_WIRE)
        sent_at = read.pop("sent_at", None)
        event = cls(**read)
        _set(event, "sent_at", sent_at)
        return event


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch(_Checked):
    """One OTP that was sent, so that the conversion rate can be counted; no provider hears of it.

    `account` and `message_id` are those of its Verification. `sent_at` is when the app sent the SMS, a time as in
    Verification, and `expires_in` for how many seconds the code is valid, 30 to 5110. `country` is where the SMS
    went: two capitals of ISO 3166-1, "SG". The workers count a pair that is not listed there as "ZZ", unknown.
    Wrong, missing and unknown fields raise ValueError, which names them and shows no value.
    """

    account: str
    message_id: str
    sent_at: datetime
    expires_in: int = 600
    country: str = "ZZ"

    if not TYPE_CHECKING:  # as for Verification

        def __init__(
            self,
            *,
            account: object = _MISSING,
            message_id: object = _MISSING,
            sent_at: object = _MISSING,
            expires_in: object = 600,
            country: object = "ZZ",
            **unknown: object,
        ) -> None:
            try:
                _set(self, "account", _account(account))
                _set(self, "message_id", _text(message_id))
                _set(self, "sent_at", _moment(sent_at))
                _set(self, "expires_in", _life(expires_in))
                _set(self, "country", _country(country))
                valid = not unknown
            except ValueError:
                valid = False
            if not valid:
                given = (account, message_id, sent_at, expires_in, country)
                raise ValueError(_faults(dict(zip(_OF_DISPATCH, given, strict=True)) | unknown, _OF_DISPATCH))

    @classmethod
    def _readers(cls) -> _Readers:
        return _OF_DISPATCH

    @property
    def sent_at_ms(self) -> int:
        """`sent_at` as UNIX milliseconds."""
        return milliseconds(self.sent_at)

    def to_wire(self) -> dict[str, object]:
        """Return the JSON object of the wire format: the time in UNIX milliseconds."""
        return {**self.model_dump(), "sent_at": milliseconds(self.sent_at)}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_wire` wrote; ValueError names the wrong fields, and the unknown ones.

        Those are refused, unlike a Verification's: only the country shall be known of a person. `sent_at` is read in
        the forms that a Verification's times are.
        """
        try:
            return cls(**data)
        except ValueError:
            return cls(**_of_another_producer({**_REQUIRED_OF_DISPATCH, **data}, _DISPATCH_ON_WIRE))


Event = Verification | Dispatch


def is_account(value: object) -> bool:
    """Return whether this is a valid account name."""
    return isinstance(value, str) and _is_account(value) is not None


def _account(value: object) -> str:
    if type(value) is str and _is_account(value):
        return value
    if not _is_account(text := _text(value)):
        raise ValueError("must be 1 to 64 of a-z, 0-9, _ and -")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("is missing" if value is _MISSING else "must be a string")
    if not 0 < len(value) <= LONGEST:
        raise ValueError(f"must have 1 to {LONGEST} characters")
    if not value.isascii():
        _check_unicode(value)
    return value if type(value) is str else str.__str__(value)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode: it contains half a surrogate pair") from None


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _life(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not _SHORTEST_LIFE <= value <= _LONGEST_LIFE:
        raise ValueError(f"must be {_SHORTEST_LIFE} to {_LONGEST_LIFE} seconds, as an int")
    return int(value)


def _country(value: object) -> str:
    if not isinstance(value, str) or not _is_country(value):
        raise ValueError('must be two capitals of ISO 3166-1, as "SG", or "ZZ" for unknown')
    return value if type(value) is str else str.__str__(value)


def _moment(value: object) -> datetime:
    """Return a time that an OTP can have, given as an aware datetime or UNIX milliseconds."""
    if type(value) is int:
        if _EARLIEST_MS <= value <= _LATEST_MS:
            return _EPOCH + value * _MILLISECOND
        try:
            value = _EPOCH + value * _MILLISECOND
        except OverflowError:
            raise ValueError("is after the year 9999: give UNIX milliseconds") from None
    if not isinstance(value, datetime):
        raise ValueError(_no_moment(value))
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"must have a time zone: {_BETTER}")
    # Seconds given for milliseconds fall into January 1970; no SMS provider is that old.
    if value < _EARLIEST:
        raise ValueError("is before the year 2000: give UNIX milliseconds, not seconds")
    if value > _LATEST:
        raise ValueError("is after the year 9999 in UTC")
    return value


def _no_moment(value: object) -> str:
    """Return what is wrong with a time that is neither a datetime nor an int, usually `time.time()`."""
    if value is _MISSING:
        return "is missing"
    if isinstance(value, float):
        return f"must be a datetime or UNIX milliseconds as an int, not a float like time.time(): {_BETTER}"
    if isinstance(value, str):
        return f"must be a datetime or UNIX milliseconds, not text: {_PARSED}"
    return "must be a datetime or UNIX milliseconds"


def _wire_moment(value: object) -> datetime:
    return _moment(foreign.read(value))


def _optional(read: Callable[[object], object]) -> Callable[[object], object]:
    return lambda value: None if value is None else read(value)


_READERS: _Readers = {
    "account": _account,
    "message_id": _text,
    "occurred_at": _moment,
    "verified": _flag,
    "sent_at": _optional(_moment),
    "app_id": _optional(_text),
}
FIELDS = frozenset(_READERS)
"""The names of a Verification's fields."""


_OF_DISPATCH: _Readers = {
    "account": _account,
    "message_id": _text,
    "sent_at": _moment,
    "expires_in": _life,
    "country": _country,
}


# What is read from the wire, where the strict readers refused it.
_REQUIRED = dict.fromkeys(("account", "message_id", "occurred_at"), _MISSING)
_ON_WIRE = {**_READERS, "occurred_at": _wire_moment, "sent_at": _optional(_wire_moment)}
_REQUIRED_OF_DISPATCH = dict.fromkeys(("account", "message_id", "sent_at"), _MISSING)
_DISPATCH_ON_WIRE = {**_OF_DISPATCH, "sent_at": _wire_moment}


def _of_another_producer(given: Mapping[str, object], readers: _Readers) -> dict[str, Any]:
    """Return fields as an event takes them; ValueError names the wrong ones."""
    if faults := _faults(given, readers):
        raise ValueError(faults)
    return {name: readers[name](value) for name, value in given.items()}


def _defaults(kind: Any) -> dict[str, object]:
    return {field.name: field.default for field in fields(kind) if field.default is not MISSING}


def _faults(given: Mapping[str, object], readers: _Readers) -> str:
    """Return one line: each wrong field and its fault, without values."""
    found: list[str] = []
    unknown = _unknown_dispatch if "expires_in" in readers else _unknown_event
    for name, value in given.items():
        try:
            readers.get(name, unknown)(value)
        except ValueError as fault:
            # a name that is none may be a value in the wrong place: a telephone number
            shown = name if name.isidentifier() and len(name) <= _LONGEST_NAME else "one of the names"
            found.append(f"{shown}: {fault}{'' if name in readers else _meant(shown, readers)}")
    return "; ".join(found)


def _meant(name: str, readers: _Readers) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - a right event does not need it

    near = get_close_matches(name, readers, n=1)
    return f": did you mean {near[0]}?" if near else ""


def _unknown_event(_: object) -> None:
    raise ValueError("is not a field of an event")


def _unknown_dispatch(_: object) -> None:
    raise ValueError("is not a field of a Dispatch")
