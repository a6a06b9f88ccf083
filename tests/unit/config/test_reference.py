import re

from config.reference import rows


def test_every_setting_is_described() -> None:
    """The docs are made from the settings, so each says in a sentence or two what it is for."""
    for row in rows():
        assert re.fullmatch(r"[A-Z`].{8,240}\.", row.description), row


def test_every_setting_says_what_is_written_there() -> None:
    """Each row has a kind, and a number its bounds."""
    for row in rows():
        assert row.kind, row
        assert row.allowed or row.kind in {"text", "secret"}, row


def test_the_contract_names_are_there() -> None:
    """The names that operators use are those of the contract, with their defaults."""
    table = {row.variable: row.default for row in rows()}
    contract = {
        "REDIS_URL": "required",
        "KEY_PREFIX": "",
        "RETRY_BASE": "1s",
        "RETRY_CAP": "5m",
        "DEDUPE_TTL": "24h",
        "CONCURRENCY": "400",
        "CONNECT_TIMEOUT": "5s",
        "READ_TIMEOUT": "10s",
        "GRACE": "20s",
        "LEASE": "30s",
        "METRICS_PORT": "9808",
        "LOG_LEVEL": "info",
        "LOG_FORMAT": "auto",
        "LOG_SAMPLE": "0.01",
        "ACCOUNTS__<NAME>__PROVIDER": "required",
        "ACCOUNTS__<NAME>__ENDPOINT": "the provider's own",
        "ACCOUNTS__<NAME>__RATE_LIMIT": "the provider's",
        "ACCOUNTS__<NAME>__RATE_GROUP": "provider, host and key id or account",
        "ACCOUNTS__<NAME>__MAX_ATTEMPTS": "12",
        "ACCOUNTS__<NAME>__MAX_AGE": "24h, or the provider's deadline",
        "ACCOUNTS__<TENCENT ACCOUNT>__REGION": "ap-singapore",
        "ACCOUNTS__<ALIBABA ACCOUNT>__ACCESS_KEY_SECRET": "required",
    }
    assert {name: table.get(f"OTPREPORT_{name}") for name in contract} == contract
