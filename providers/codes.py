"""A provider's table of codes."""

from collections.abc import Mapping

from providers.base import Result


class CodeTable:
    """What each code of a provider means, compared without regard to case.

    A row that ends in `*` stands for every code that begins so. An exact row wins over such a family, a
    longer family over a shorter one.
    """

    __slots__ = ("_exact", "_families", "rows")

    def __init__(self, rows: Mapping[str, Result]) -> None:
        self.rows = dict(rows)
        lowered = {code.lower(): result for code, result in rows.items()}
        self._exact = {code: result for code, result in lowered.items() if not code.endswith("*")}
        families = [(code[:-1], result) for code, result in lowered.items() if code.endswith("*")]
        self._families = sorted(families, key=lambda family: -len(family[0]))

    def result(self, code: str) -> Result | None:
        """Return the class of `code`; None when the table does not list it."""
        lowered = code.lower()
        exact = self._exact.get(lowered)
        return exact if exact is not None else self._family(lowered)

    def _family(self, code: str) -> Result | None:
        return next((result for prefix, result in self._families if code.startswith(prefix)), None)
