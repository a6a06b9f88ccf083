"""Configuration errors, as lines for the person who made them.

SettingsError (ValueError): stop, print its `faults`, exit with status 2.

A line never shows a value that could be a secret: numbers and provider names only.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from config.duration import Unit
from otpreport.errors import OtpreportError

PREFIX = "OTPREPORT_"
NESTED = "__"
_MISSING = "is missing"
_NUMBER = re.compile(r"-?[0-9.]{1,24}(ms|s|m|h|d)?", re.ASCII)
_PHRASES = {
    "string_pattern_mismatch": "use only what matches {pattern}",
    "string_too_short": "write at least {min_length} characters",
    "string_too_long": "write at most {max_length} characters",
    "literal_error": "use one of {expected}",
}


class SettingsError(OtpreportError, ValueError):
    """All faults of the settings, one line each."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True, slots=True)
class Fault:
    """One wrong setting: path, problem and fix."""

    path: tuple[str, ...]
    problem: str
    fix: str

    @property
    def is_missing(self) -> bool:
        """Say whether a required value is absent, rather than wrong."""
        return self.problem == _MISSING

    def stems_from(self, unread: Iterable[tuple[str, ...]]) -> bool:
        """Return whether a value is missing only because its file could not be read, which is reported separately."""
        return self.is_missing and any(self.path[: len(path)] == path for path in unread)

    def line(self, origins: Mapping[tuple[str, ...], str]) -> str:
        """Return the fault in one line, with the variable or file it came from."""
        origin = origins.get(self.path)
        source = f" (from {origin})" if origin else ""
        subject = ".".join(self.path)
        return " ".join(f"{subject} {self.problem}{source}: {self.fix}".split())


def variable(path: Sequence[str]) -> str:
    """Return the environment variable that sets `path`."""
    return PREFIX + NESTED.join(path).upper()


def how_to_set(path: Sequence[str]) -> str:
    """Return the fix for a missing value; a name with a dash can't be a shell variable."""
    if "-" in "".join(path):
        return f"set {path[-1]} under [{'.'.join(path[:-1])}] in the TOML file that {PREFIX}CONFIG names"
    return f"set {variable(path)}"


def missing(path: Sequence[str], hint: str = "") -> Fault:
    """Return the fault of a required setting that is missing."""
    return Fault(tuple(path), _MISSING, how_to_set(path) + hint)


def unknown(path: Sequence[str], known: Iterable[str]) -> Fault:
    """Return the fault of an unknown setting, with the nearest known one."""
    names = sorted(known)
    near = nearest(path[-1], names)
    fix = f"did you mean {near}?" if near else f"use one of {', '.join(names)}"
    return Fault(tuple(path), "is unknown", fix)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` is probably meant to be."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), None)


def wrong(problem: str, fix: str) -> PydanticCustomError:
    """Return the error for a validator to raise; neither text may contain the value."""
    return PydanticCustomError("fault", "{problem}: {fix}", {"problem": problem, "fix": fix})


def collected(faults: Sequence[Fault]) -> PydanticCustomError:
    """Return the error for a validator that found several faults, each with its own path."""
    return PydanticCustomError("faults", "{faults}", {"faults": list(faults)})


def from_validation(error: ValidationError, model: type[BaseModel], path: Sequence[str] = ()) -> list[Fault]:
    """Translate pydantic's errors about `model` at `path`."""
    details = error.errors(include_url=False)
    return [fault for detail in details for fault in _translate(detail, model, tuple(path))]


def _translate(detail: ErrorDetails, model: type[BaseModel], path: tuple[str, ...]) -> list[Fault]:
    context = detail.get("ctx", {})
    if detail["type"] == "faults":
        return cast("list[Fault]", context["faults"])
    field = str(detail["loc"][0]) if detail["loc"] else ""
    where = (*path, field)
    if detail["type"] == "missing":
        return [missing(where)]
    if detail["type"] == "option_missing":  # of providers.base.option_missing
        return [missing((*path, str(context["option"])), str(context["hint"]))]
    if detail["type"] == "extra_forbidden":
        return [unknown(where, model.model_fields)]
    if detail["type"] == "fault":
        return [Fault(where, str(context["problem"]), str(context["fix"]))]
    return [_invalid(detail, model.model_fields.get(field), where)]


def _invalid(detail: ErrorDetails, field: FieldInfo | None, where: tuple[str, ...]) -> Fault:
    if field is None or "SecretStr" in str(field.annotation):
        return Fault(where, "is not valid", "write visible ASCII, at least one character")
    span = bounds(field)
    if span is not None:
        return Fault(
            where, _shown(detail["input"]), f"give {_kind(field)} from {plain(span[0])} to {plain(span[1])}"
        )
    phrase = _PHRASES.get(detail["type"], detail["msg"].lower())
    return Fault(where, "is not valid", phrase.format(**detail.get("ctx", {})))


def bounds(field: FieldInfo) -> tuple[float, float] | None:
    """Return the lower and upper bound of a field that has both."""
    low = next((float(cast("float", item.ge)) for item in field.metadata if isinstance(item, Ge)), None)
    high = next((float(cast("float", item.le)) for item in field.metadata if isinstance(item, Le)), None)
    return None if low is None or high is None else (low, high)


def plain(number: float) -> str:
    """Return a number as people write it."""
    return f"{number:.10g}"


def unit(field: FieldInfo) -> str:
    """Return what the field counts, or an empty text."""
    return next((item.name for item in field.metadata if isinstance(item, Unit)), "")


def _kind(field: FieldInfo) -> str:
    if unit(field) == "seconds":
        return "a number of seconds (or 30s, 5m, 24h)"
    return "a whole number" if field.annotation is not float else "a number"


def _shown(value: object) -> str:
    """Show the value if it is a number: anything else could be a misplaced secret."""
    text = plain(value) if isinstance(value, float) else str(value)
    return f"is {text}" if _NUMBER.fullmatch(text) else "is not a number in range"
