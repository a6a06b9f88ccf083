"""Data from outside into frozen dataclasses, with one clear line for each fault."""

from __future__ import annotations

from typing import TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_OWN = "Value error, "  # before the message of a check of ours
_WORDS = {
    "missing": "is missing",
    "missing_argument": "is missing",
    "unexpected_keyword_argument": "is no setting of the simulator",
}


class InvalidSettingsError(ValueError):
    """Settings or a plan are invalid; `faults` has a line for each fault."""

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def validate(adapter: TypeAdapter[T], data: object, *, at: str = "") -> T:
    """Return `data` as the adapter's type; InvalidSettingsError naming each field, `at` before its path.

    The way leads over JSON because there strict mode still lets a list be a tuple.
    """
    try:
        return adapter.validate_json(orjson.dumps(data), strict=True)
    except ValidationError as error:
        faults = [_line(fault["loc"], fault["type"], fault["msg"], at) for fault in error.errors()]
        raise InvalidSettingsError(tuple(faults)) from None
    except TypeError as error:
        raise InvalidSettingsError((f"{at or 'the data'} cannot be written as JSON: {error}",)) from None


def _line(location: tuple[int | str, ...], kind: str, message: str, at: str) -> str:
    path = _path(location, at)
    if kind == "value_error" and not path:
        return message.removeprefix(_OWN)
    words = _WORDS.get(kind) or f"is wrong: {_lower(message.removeprefix(_OWN))}"
    return f"{path or 'the data'} {words}"


def _path(location: tuple[int | str, ...], at: str) -> str:
    path = at
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            path += f".{step}" if path else step
    return path


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
