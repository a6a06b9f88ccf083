"""Every setting as a row of a table: docs/settings.md is made from these."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.account import AccountSettings
from config.duration import written
from config.faults import bounds, plain, unit, variable
from config.implied import ImpliedDefault
from config.settings import Settings
from providers.base import Provider
from providers.registry import REGISTRY

REQUIRED = "required"

_KINDS = {int: "whole number", float: "number", str: "text", SecretStr: "secret"}


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting; `default` is empty if there is none, `allowed` if any value of the kind is valid."""

    variable: str
    toml: str
    kind: str
    default: str
    allowed: str
    description: str


def rows() -> Iterator[SettingRow]:
    """Yield every setting: the workers', every account's, then each provider's own."""
    yield from common_rows()
    yield from account_rows()
    for name in sorted(REGISTRY):
        yield from provider_rows(REGISTRY[name])


def common_rows() -> Iterator[SettingRow]:
    """Yield the settings of a worker."""
    yield from _rows(Settings, (), skip={"accounts"})


def account_rows() -> Iterator[SettingRow]:
    """Yield the settings of every account."""
    yield from _rows(AccountSettings, ("accounts", "<name>"))


def provider_rows(provider: type[Provider]) -> Iterator[SettingRow]:
    """Yield the additional settings of an account of this provider."""
    yield from _rows(provider.Options, ("accounts", f"<{provider.name} account>"))


def _rows(
    model: type[BaseModel], path: tuple[str, ...], skip: frozenset[str] | set[str] = frozenset()
) -> Iterator[SettingRow]:
    for name, field in model.model_fields.items():
        if name not in skip:
            where = (*path, name)
            yield SettingRow(
                variable(where), name, _kind(field), _default(field), _allowed(field), field.description or ""
            )


def _kind(field: FieldInfo) -> str:
    """Return the kind of value: a duration, a secret, one word."""
    if unit(field) == "seconds":
        return "duration"
    kind = _given(field.annotation)
    if get_origin(kind) is Literal:
        return "one word"
    counted = unit(field)
    name = _KINDS[cast("type", kind)]
    return f"{name}, {counted}" if counted else name


def _given(annotation: Any) -> Any:
    """Return the type of an optional setting."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return next(_given(kind) for kind in get_args(annotation) if kind is not type(None))
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    value: object = field.default
    words = next((item.text for item in field.metadata if isinstance(item, ImpliedDefault)), "")
    return words if value is None or value == "" else _shown(field, value)


def _allowed(field: FieldInfo) -> str:
    kind = _given(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(get_args(kind))
    span = bounds(field)
    if span is not None:
        return f"{_shown(field, span[0])} to {_shown(field, span[1])}"
    return _pattern(field) or ", ".join(_limits(field))


def _limits(field: FieldInfo) -> Iterator[str]:
    """Yield the bounds of a number that has only one, or an exclusive one."""
    for item in field.metadata:
        match item:
            case Gt(gt=limit):
                yield f"more than {_shown(field, limit)}"
            case Ge(ge=limit):
                yield f"at least {_shown(field, limit)}"
            case Le(le=limit):
                yield f"at most {_shown(field, limit)}"
            case Lt(lt=limit):
                yield f"less than {_shown(field, limit)}"
            case _:
                pass


def _pattern(field: FieldInfo) -> str:
    """Return the pattern of a text, or an empty text."""
    patterns = (getattr(item, "pattern", None) for item in field.metadata)
    return next((f"`{pattern.strip('^$')}`" for pattern in patterns if isinstance(pattern, str)), "")


def _shown(field: FieldInfo, value: object) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    return written(value) if unit(field) == "seconds" else plain(value)
