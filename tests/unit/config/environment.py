"""Environments for the tests of the settings."""

import pytest

import config

SECRET = "s3cr3t-VALUE"

GOOD = {
    "OTPREPORT_REDIS_URL": f"redis://:{SECRET}@localhost:6379/0",
    "OTPREPORT_ACCOUNTS__TENCENT__PROVIDER": "tencent",
    "OTPREPORT_ACCOUNTS__TENCENT__SECRET_ID": "AKIDexample",
    "OTPREPORT_ACCOUNTS__TENCENT__SECRET_KEY": SECRET,
    "OTPREPORT_ACCOUNTS__TENCENT__SDK_APP_ID": "1400000001",
}


def account(name: str, **settings: str) -> dict[str, str]:
    """Return the variables of one more Tencent account."""
    base = {"PROVIDER": "tencent", "SECRET_ID": "AKIDexample", "SECRET_KEY": SECRET, "SDK_APP_ID": "1"}
    return {f"OTPREPORT_ACCOUNTS__{name}__{key}": value for key, value in (base | settings).items()}


def faults(environment: dict[str, str]) -> list[str]:
    """Return what `load` says is wrong; each time it must be one line a fault without a secret."""
    with pytest.raises(config.SettingsError) as caught:
        config.load(environment)
    lines = list(caught.value.faults)
    assert not [line for line in lines if SECRET in line or "\n" in line]
    assert caught.value.__context__ is None, "pydantic's error holds the values and would be printed as well"
    return lines
