"""The account settings that a worker announces to the others."""

from __future__ import annotations

import hashlib

from config.account import NO_LIMIT, Account, key_hint, provider_of
from config.settings import Settings
from tasks.fleet.deployment import Deployment


def deployment_of(settings: Settings) -> Deployment:
    """Return the settings of the accounts; of keys only enough to distinguish them."""
    return Deployment({name: _fields(account) for name, account in settings.accounts.items()})


def _fields(account: Account) -> dict[str, str]:
    key_id = provider_of(account).key_id
    return {
        "provider": account.provider,
        "endpoint": account.endpoint,
        "rate_limit": str(account.rate_limit),
        "max_in_flight": str(account.max_in_flight or NO_LIMIT),
        "rate_group": account.rate_group,
        "max_age": f"{account.max_age:g}",
        "unverified": account.unverified,
        "key": f"{key_hint(account)} (#{hashlib.sha256(key_id.encode()).hexdigest()[:6]})",
    }
