"""The settings as a table, for the docs."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.account import AccountSettings
from config.faults import bounds, plain, unit, variable
from config.settings import Settings
from providers.registry import REGISTRY


@dataclass(frozen=True, slots=True)
class Row:
    """One setting; `default` is empty where there is none, `allowed` where any text may stand."""

    variable: str
    default: str
    allowed: str
    description: str


def rows() -> Iterator[Row]:
    """Yield every setting: the workers', those of any account, then each provider's own."""
    yield from _rows(Settings, (), skip={"accounts"})
    yield from _rows(AccountSettings, ("accounts", "<name>"))
    for name in sorted(REGISTRY):
        yield from _rows(REGISTRY[name].Options, ("accounts", f"<{name} account>"))


def _rows(
    model: type[BaseModel], path: tuple[str, ...], skip: frozenset[str] | set[str] = frozenset()
) -> Iterator[Row]:
    for name, field in model.model_fields.items():
        if name not in skip:
            where = (*path, name)
            yield Row(variable(where), _default(field), _allowed(field), field.description or "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: object = field.default
    if value is None or value == "":
        return ""
    return f"{plain(value)}{_suffix(field)}" if isinstance(value, (int, float)) else str(value)


def _allowed(field: FieldInfo) -> str:
    span = bounds(field)
    return "" if span is None else f"{plain(span[0])} to {plain(span[1])}{_suffix(field)}"


def _suffix(field: FieldInfo) -> str:
    return " s" if unit(field) == "seconds" else ""
