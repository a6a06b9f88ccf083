"""Numbers in the settings."""

from pydantic import BaseModel, ValidationInfo
from pydantic_core import PydanticCustomError

_NUMBERS: tuple[object, ...] = (int, float, int | None, float | None)


def refuse_bool(cls: type[BaseModel], value: object, info: ValidationInfo) -> object:
    """Refuse true and false for a number, in any field: pydantic would take them for 1 and 0."""
    if isinstance(value, bool) and cls.model_fields[info.field_name or ""].annotation in _NUMBERS:
        raise PydanticCustomError("bool", "give a number, not true or false")
    return value
