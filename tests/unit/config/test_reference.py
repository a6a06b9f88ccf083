import re

from config.reference import rows


def test_every_setting_is_described() -> None:
    """The docs are made from the settings, so each says what it is for, and has a default or is required."""
    for row in rows():
        assert re.fullmatch(r".{8,130}", row.description), row


def test_the_contract_names_are_there() -> None:
    """The names that operators use are those of the contract, with their defaults."""
    table = {row.variable: row.default for row in rows()}
    contract = {
        "REDIS_URL": "required",
        "KEY_PREFIX": "",
        "RETRY_BASE": "1 s",
        "RETRY_CAP": "300 s",
        "DEDUPE_TTL": "86400 s",
        "CONCURRENCY": "400",
        "CONNECT_TIMEOUT": "5 s",
        "READ_TIMEOUT": "10 s",
        "GRACE": "20 s",
        "LEASE": "30 s",
        "METRICS_PORT": "9808",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "auto",
        "LOG_SAMPLE": "0.01",
        "ACCOUNTS__<NAME>__PROVIDER": "required",
        "ACCOUNTS__<NAME>__ENDPOINT": "",
        "ACCOUNTS__<NAME>__RATE_LIMIT": "",
        "ACCOUNTS__<NAME>__RATE_GROUP": "",
        "ACCOUNTS__<NAME>__MAX_ATTEMPTS": "12",
        "ACCOUNTS__<NAME>__MAX_AGE": "86400 s",
        "ACCOUNTS__<TENCENT ACCOUNT>__REGION": "ap-singapore",
        "ACCOUNTS__<ALIBABA ACCOUNT>__ACCESS_KEY_SECRET": "required",
    }
    assert {name: table.get(f"OTPREPORT_{name}") for name in contract} == contract
