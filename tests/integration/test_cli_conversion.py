"""`conversion`: the rates of the last hours, out of a real Redis."""

import time
from typing import Any

import pytest
import redis

from tasks.keys import Keys
from tests.support.command import call

KEYS = Keys()


def write(client: redis.Redis, account: str, hours_ago: int, **counts: int) -> None:
    """Write the OTPs closed in an hour: `BR_yes=1`."""
    untyped: Any = client
    key = KEYS.otps_of_hour(account, int(time.time()) // 3600 - hours_ago)
    untyped.hset(key, mapping={name.replace("_", ":"): count for name, count in counts.items()})


def fill(client: redis.Redis) -> None:
    """Write two accounts, of which one has more than a day."""
    write(client, "tencent", 0, BR_yes=10, BR_no=40, CN_yes=700, CN_no=300)
    write(client, "tencent", 1, BR_yes=10, BR_no=40)
    write(client, "tencent", 30, BR_yes=1000)
    write(client, "alibaba", 2, BR_yes=70, BR_no=30, NG_yes=1)


def test_accounts_are_compared_for_a_country(url: str, valkey: redis.Redis) -> None:
    """The best comes first, and whether it is better beyond chance is said."""
    fill(valkey)
    ran = call(url, "conversion", "--country", "br")
    head, best, second, _, text = ran.out.splitlines()
    assert head.split() == ["account", "country", "conversion", "95", "%", "interval", "verified", "closed"]
    assert best.split() == ["alibaba", "BR", "70", "%", "60", "to", "78", "%", "70", "100"]
    assert second.split() == ["tencent", "BR", "20", "%", "13", "to", "29", "%", "20", "100"]
    assert text == "alibaba converts best in BR, beyond chance."
    write(valkey, "tencent", 1, BR_yes=60, BR_no=0)
    assert (
        "may convert equally in BR: their intervals overlap" in call(url, "conversion", "--country", "BR").out
    )


def test_all_countries_of_all_accounts(url: str, valkey: redis.Redis) -> None:
    """Each account as a whole and by country, the largest first; JSON has the same, and null for what is too little."""
    fill(valkey)
    rows = call(url, "conversion", "--json").json["conversions"]
    assert [(row["account"], row["country"], row["closed"]) for row in rows] == [
        ("tencent", None, 1100),
        ("tencent", "CN", 1000),
        ("tencent", "BR", 100),
        ("alibaba", None, 101),
        ("alibaba", "BR", 100),
        ("alibaba", "NG", 1),
    ]
    assert (rows[3]["conversion_rate"], rows[5]["conversion_rate"], rows[5]["interval"]) == (
        0.703,
        None,
        None,
    )
    [_, *lines] = call(url, "conversion", "--hours", "1").out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["tencent", "all", "68", "%"],
        ["tencent", "CN", "70", "%"],
        ["tencent", "BR", "20", "%"],
    ]
    assert (
        call(url, "conversion", "--hours", "40", "--country", "BR", "--json").json["conversions"][0]["closed"]
        == 1100
    )


def test_nothing_to_show(url: str, valkey: redis.Redis) -> None:
    """Where no app reports its OTPs, and where one account alone serves a country, that is said."""
    assert call(url, "conversion").out.startswith("No OTP was closed in that time: docs/conversion.md")
    assert call(url, "conversion", "--json").json == {"hours": 24, "country": None, "conversions": []}
    valkey.zadd(KEYS.open_otps("tencent"), {"1": 1.0, "2": 2.0})
    assert "Still open: 2. Each counts when its time is over" in call(url, "conversion").out
    write(valkey, "tencent", 0, BR_yes=30)
    assert "Nothing to compare: fewer than two accounts" in call(url, "conversion", "--country", "BR").out
    wrong = call(url, "conversion", "--country", "Brazil")
    assert (wrong.status, wrong.line) == (2, "--country: Brazil is no ISO 3166 code of two letters, as BR")


@pytest.mark.parametrize("rubbish", ["x", "", "9" * 400, "1.5"])
def test_what_is_no_count_is_named(url: str, valkey: redis.Redis, rubbish: str) -> None:
    """The key and the field, so that an operator can mend it."""
    fill(valkey)
    untyped: Any = valkey
    key = KEYS.otps_of_hour("tencent", int(time.time()) // 3600)
    untyped.hset(key, "BR:no", rubbish)
    ran = call(url, "conversion")
    assert ran.status != 0
    assert f"'BR:no' is no number ({key})" in ran.err
    untyped.hset(key, "BR:no", 40)
    assert call(url, "conversion", "--country", "BR").out
