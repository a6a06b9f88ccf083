"""The counts of OTPs as the exporter and the operator see them."""

import time
from typing import Any

import pytest
import redis

from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.tracking.otps import BUCKETS, Country, Otps

KEYS = Keys()


def look(client: redis.Redis) -> Otps | None:
    """Return the OTPs of the account `tencent`."""
    [account] = SnapshotReader(client, KEYS, {"tencent": "group"}).read().accounts
    return account.otps


def write(client: redis.Redis, key: str, counts: dict[str, Any]) -> None:
    """Write fields of a hash."""
    untyped: Any = client
    untyped.hset(key, mapping=counts)


def test_an_account_without_otps_is_not_tracked(valkey: redis.Redis) -> None:
    """Nothing is told of who does not track."""
    assert look(valkey) is None


def test_notices_that_nobody_notes_are_seen(valkey: redis.Redis) -> None:
    """Where no worker tracks, the oldest notice tells for how long."""
    now_ms = round(time.time() * 1000)
    valkey.lpush(KEYS.notices("tencent"), f"sent {now_ms - 90_000} 300 SG a", f"verified {now_ms} a")
    otps = look(valkey)
    assert otps
    assert (otps.waiting, otps.total, otps.sent_gap) == (2, Country(), 0)
    assert otps.lag >= 90
    valkey.delete(KEYS.notices("tencent"))
    valkey.lpush(KEYS.notices("tencent"), b"\xff" * 100_000)
    assert (otps := look(valkey))
    assert otps.lag == 0


def test_the_counts_are_read_at_one_moment(valkey: redis.Redis) -> None:
    """All counts, two hours a day apart, and both gaps."""
    hour = int(time.time()) // 3600
    counts = {"SG:sent": 10, "SG:verified": 5, "SG:yes": 4, "SG:no": 3, "BR:sent": 1, "le:5": 2, "le:inf": 1}
    more = {"latency": 4500, "unmatched": 7, "late": 8, "queued": 1, "withheld": 1, "unsaid": 1, "noted": 1}
    write(valkey, KEYS.otps("tencent"), counts | more | {"SG:yes:x": 1, "no": "many", "x" * 99: 1})
    valkey.hset(KEYS.otps("tencent"), b"\xff", 1)
    valkey.zadd(KEYS.open_otps("tencent"), {"a": 1, "b": 2, "c": 3, "d": 4})
    write(valkey, KEYS.otps_of_hour("tencent", hour - 1), {"SG:yes": 7, "SG:no": 3})
    write(valkey, KEYS.otps_of_hour("tencent", hour - 25), {"SG:yes": 8, "SG:no": 2})
    otps = look(valkey)
    assert otps
    assert otps.countries == {"BR": Country(1), "SG": Country(10, 5, 4, 3)}
    assert (otps.open, otps.waiting, otps.lag, otps.unmatched, otps.late) == (4, 0, 0, 7, 8)
    assert (otps.sent_gap, otps.unverified_gap) == (0, 0)
    assert (otps.seconds["5"], otps.seconds["inf"], tuple(otps.seconds), otps.seconds_sum) == (
        2,
        1,
        BUCKETS,
        4.5,
    )
    if hour == int(time.time()) // 3600:
        assert (otps.hour, otps.yesterday) == ({"SG": Country(yes=7, no=3)}, {"SG": Country(yes=8, no=2)})


@pytest.mark.parametrize(("field", "gap"), [("SG:sent", 1), ("SG:yes", -1), ("refused", -1), ("unsaid", -1)])
def test_an_otp_too_many_makes_a_gap(valkey: redis.Redis, field: str, gap: int) -> None:
    """Negative control: one count changed behind our back is seen, whichever it is."""
    write(valkey, KEYS.otps("tencent"), {"SG:sent": 2, "SG:yes": 1, "SG:no": 1, "refused": 1})
    otps = look(valkey)
    assert otps
    assert (otps.sent_gap, otps.unverified_gap) == (0, 0)
    valkey.hincrby(KEYS.otps("tencent"), field, 1)
    assert (otps := look(valkey))
    assert otps.sent_gap + otps.unverified_gap == gap
    snapshot = SnapshotReader(valkey, KEYS, {"tencent": "group"}).read()
    assert snapshot.otps_gap == 1


def test_a_gap_can_be_written_off(valkey: redis.Redis) -> None:
    """As the runbook of OtpreportOtpsGap has it: each gap goes where it no longer is one."""
    write(valkey, KEYS.otps("tencent"), {"SG:sent": 9, "SG:yes": 1, "SG:no": 1, "refused": 3})
    otps = look(valkey)
    assert otps
    assert (otps.sent_gap, otps.unverified_gap) == (7, -2)
    valkey.hincrby(KEYS.otps("tencent"), "ZZ:yes", otps.sent_gap)
    valkey.hincrby(KEYS.otps("tencent"), "unsaid", otps.unverified_gap)
    otps = look(valkey)
    assert otps
    assert (otps.sent_gap, otps.unverified_gap) == (0, 0)


@pytest.mark.parametrize("rubbish", ["x", "", "9" * 400, "1.5"])
def test_what_is_no_count_is_named(valkey: redis.Redis, rubbish: str) -> None:
    """It counts as nothing, and its key and field are told."""
    untyped: Any = valkey
    hour = KEYS.otps_of_hour("aws", untyped.time()[0] // 3600 - 1)
    for key in (KEYS.otps("aws"), hour):
        untyped.hset(key, mapping={"SG:no": rubbish, "SG:yes": 1, "marks": "1:2"})
    untyped.hset(KEYS.dead_keep("aws"), "most", rubbish)
    snapshot = SnapshotReader(valkey, KEYS, {"aws": "aws"}).read()
    [otps] = snapshot.otps
    assert otps.countries["SG"] == otps.hour["SG"] == Country(yes=1)
    assert sorted(snapshot.faults) == [
        f"{key} SG:no: ERR it is no number" for key in (KEYS.otps("aws"), hour)
    ]
