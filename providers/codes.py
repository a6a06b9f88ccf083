"""A provider's table of codes."""

from collections.abc import Mapping

from providers.base import Result


class CodeTable:
    """The result for each code of a provider; codes are compared case-insensitively.

    A row that ends in `*` covers every code with that prefix. An exact row wins over a prefix, a longer
    prefix over a shorter one.
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
