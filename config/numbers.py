"""Numbers in the settings."""

import re

from pydantic import BaseModel, ValidationInfo
from pydantic_core import PydanticCustomError

_WHOLE: tuple[object, ...] = (int, int | None)
_NUMBERS: tuple[object, ...] = (*_WHOLE, float, float | None)
_GROUPED = re.compile(r"[0-9]{1,3}(\.[0-9]{3})+")


def refuse_misread(cls: type[BaseModel], value: object, info: ValidationInfo) -> object:
    """Refuse what pydantic would take for another number, in any field: true for 1, and 1.000 for 1, not for 1000."""
    kind = cls.model_fields[info.field_name or ""].annotation
    if isinstance(value, bool) and kind in _NUMBERS:
        raise PydanticCustomError("bool", "give a number, not true or false")
    if isinstance(value, str) and kind in _WHOLE and _GROUPED.fullmatch(value.strip()):
        raise PydanticCustomError("grouped", "give a number without separators")
    return value
