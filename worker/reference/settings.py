"""The blocks of docs/settings.md."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from config.duration import written
from config.reference import SettingRow, account_rows, common_rows, provider_rows
from providers.base import Provider
from providers.registry import REGISTRY
from worker.reference.page import Blocks, code, table

UNVERIFIED = {
    "reported": "A code that was never entered is reported.",
    "implied": "A code that was never entered is skipped: the provider assumes it unless told otherwise.",
    "unsayable": "A code that was never entered is skipped: the API has no word for it.",
}

HEADER = ("variable", "in the file", "kind", "default", "allowed", "what it does")


def blocks() -> Blocks:
    """Return the tables: of a worker, of every account, and of each provider's accounts."""
    return {
        "settings": table(HEADER, _lines(common_rows())),
        "account-settings": table(HEADER, _lines(account_rows())),
        "provider-settings": "\n\n".join(_provider(REGISTRY[name]) for name in sorted(REGISTRY)),
    }


def _provider(provider: type[Provider]) -> str:
    title = (sys.modules[provider.__module__].__doc__ or "").strip().splitlines()[0]
    words = [
        title,
        _endpoint(provider),
        _rate(provider),
        _deadline(provider),
        UNVERIFIED[provider.unverified],
    ]
    return "\n".join(
        (
            f"### {provider.name}",
            "",
            " ".join(word for word in words if word),
            "",
            table(HEADER, _lines(provider_rows(provider))),
        )
    )


def _endpoint(provider: type[Provider]) -> str:
    return f"Endpoint {code(provider.endpoint)}," if provider.endpoint else "`ENDPOINT` has no default;"


def _rate(provider: type[Provider]) -> str:
    if provider.documents_rate:
        return f"{provider.rate_limit} requests/s."
    return f"{provider.rate_limit} requests/s to begin with: the provider documents no limit."


def _deadline(provider: type[Provider]) -> str:
    return (
        f"A report is worth nothing {written(provider.deadline)} after the sending."
        if provider.deadline
        else ""
    )


def _lines(rows: Iterable[SettingRow]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        default = row.default if " " in row.default or row.default in {"", "required"} else code(row.default)
        # the prefix stands above the table, as does whose account it is
        name = row.variable.removeprefix("OTPREPORT_").rpartition("__")
        short = f"{name[0] and '..__'}{name[2]}"
        yield code(short), code(row.toml), row.kind, default or "none", row.allowed, row.description
