"""The parts of a key in a file of settings: a running worker has to see them change."""

from __future__ import annotations

import tomllib

from providers import REGISTRY


def key_settings(text: str) -> list[str]:
    """Return every part of a key, its id too, that a TOML file of settings holds; an empty one counts."""
    accounts: dict[str, dict[str, object]] = tomllib.loads(text)["accounts"]
    return [
        f"{name}.{setting}"
        for name, account in accounts.items()
        for setting in account
        if setting in REGISTRY[str(account["provider"])].credentials
    ]
