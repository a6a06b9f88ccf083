"""Report OTP conversions to SMS providers through a queue: what a web app needs.

A name is imported when it is first asked for, so that the command `otpreport` can prepare for Ctrl-C before that.
"""

from importlib import import_module as _import

TYPE_CHECKING = False  # the one of `typing` would import that

if TYPE_CHECKING:
    from otpreport.event import Dispatch, Verification
    from otpreport.receipt import Receipt, Receipts
    from otpreport.reporter import Reporter

__all__ = ["Dispatch", "Receipt", "Receipts", "Reporter", "Verification"]

_PLACES = {
    "Dispatch": "event",
    "Receipt": "receipt",
    "Receipts": "receipt",
    "Reporter": "reporter",
    "Verification": "event",
}
"""Name: the module that it is in."""

if not TYPE_CHECKING:  # type checkers see the imports above

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(_import(f"{__name__}.{_PLACES[name]}"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
