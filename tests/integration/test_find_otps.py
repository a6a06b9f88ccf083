"""`find` of an OTP: from the notice that waits to the one that is remembered as closed."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from tasks.find.otps import ClosedOtp
from tests.integration.test_find import documented_fields, look
from tests.integration.test_looking_on import USER, url_of, without_keys
from tests.support.command import call, call_in
from tests.support.otps import ACCOUNT, Tracking
from tests.support.redis_servers import add_user
from worker.embedded import EmbeddedValkey


@pytest.fixture
def tracking(valkey: redis.Redis) -> Tracking:
    """Return what tracks the account, with the clock of the test."""
    return Tracking(valkey)


def found(url: str, message_id: str) -> tuple[list[str], list[str]]:
    """Return the lines of the command and the places of its JSON, whose fields are the documented ones."""
    ran = call(url, "find", message_id, "--account", ACCOUNT)
    assert ran.status == 0, ran.out + ran.err
    places = json.loads(call(url, "find", message_id, "--account", ACCOUNT, "--json").out)["places"]
    documented = documented_fields()
    for place in places:
        assert place.keys() - {"account", "place", "text"} == documented[place["place"]]
    return ran.out.splitlines(), [place["place"] for place in places]


TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


def test_an_otp_from_sent_to_open(tracking: Tracking, url: str) -> None:
    """A notice that waits, then open with its times and country."""
    tracking.sent("5000:1", ago=5)
    (line,), places = found(url, "5000:1")
    assert places == ["notice"]
    assert re.fullmatch(rf"aws: OTP sent at {TIME} UTC: told, and not yet noted by a worker", line)

    tracking.track()
    tracking.track(120)
    (line,), places = found(url, "5000:1")
    assert places == ["otp_open"]
    assert re.fullmatch(
        rf"aws: OTP sent at {TIME} UTC to SG, open: its code has not come back, expires at {TIME} UTC \(in .*\)",
        line,
    )
    [otp] = look(tracking.client, "5000:1", ACCOUNT)[0]
    assert otp.account == ACCOUNT
    told = json.loads(call(url, "find", "5000:1", "--account", ACCOUNT, "--json").out)["places"][0]
    assert (told["country"], told["verified"]) == ("SG", False)


def close(tracking: Tracking, *notices: str) -> None:
    """Tell of OTPs, and let a quarter of an hour pass, which is over: `find` looks into no memory of times to come."""
    tracking.set_clock(tracking.now - 1200)
    tracking.tell(*(notice.format(ms=tracking.now * 1000) for notice in notices))
    tracking.watch(1000)


SENT, VERIFIED = "sent {ms} 60 SG 5000:1", "verified {ms} 5000:1"


@pytest.mark.parametrize(
    ("notices", "how"),
    [
        ([SENT], "not verified"),
        ([SENT, VERIFIED], "verified (or so after its time was over)"),
        ([VERIFIED], "verified, but never told as sent"),
    ],
)
def test_an_otp_that_is_closed(tracking: Tracking, url: str, notices: list[str], how: str) -> None:
    """It is remembered how, and roughly when."""
    close(tracking, "sent {ms} 60 SG another", *notices)  # else none is missed as never told
    (line,), places = found(url, "5000:1")
    assert places == ["otp_closed"]
    assert line.startswith(f"aws: OTP closed as {how}, some time between ")


def test_an_otp_that_was_verified(tracking: Tracking, url: str) -> None:
    """The notice of it waits beside the open OTP; then it is verified."""
    tracking.sent("5000:1", ago=2)
    tracking.track()
    tracking.verified("5000:1")
    lines, places = found(url, "5000:1")
    assert places == ["otp_open", "notice"]
    assert lines[1].startswith("aws: OTP verified at ")
    tracking.track()
    (line,), _ = found(url, "5000:1")
    assert " to SG, verified, expires at " in line


def test_every_closed_otp_is_met(tracking: Tracking) -> None:
    """Whatever its id: the command computes where the script remembers it."""
    ids = [f"5000:{number}/é" for number in range(40)]
    close(tracking, *(f"sent {{ms}} 60 SG {number}" for number in ids))
    for number in ids:
        places, _ = look(tracking.client, number, ACCOUNT)
        assert any(isinstance(place, ClosedOtp) and not place.verified for place in places)
    assert not look(tracking.client, "5000:40/é", ACCOUNT)[0]


def test_an_otp_that_expired_and_is_open_still(tracking: Tracking, url: str) -> None:
    """What comes in time may be on its way for a minute: until then it says when it closes."""
    tracking.sent("5000:1", ago=70)
    tracking.track()
    (line,), _ = found(url, "5000:1")
    assert re.search(
        rf"has not come back, expired at {TIME} UTC, closes at \d\d:\d\d:\d\d or soon after$", line
    )


def test_an_otp_that_was_never_told_as_sent(tracking: Tracking, url: str) -> None:
    """Verified, with both times."""
    tracking.sent("5000:other")  # else the app tells of no OTP as sent, and none is missed
    tracking.verified("5000:1", ago=3)
    told = tracking.now - 3
    tracking.track()
    (line,), places = found(url, "5000:1")
    assert places == ["otp_early"]
    assert re.fullmatch(
        rf"aws: OTP verified at {TIME} UTC, not told as sent: this is waited for until {TIME} UTC", line
    )
    record = json.loads(call(url, "find", "5000:1", "--account", ACCOUNT, "--json").out)["places"][0]
    assert record["verified_at"] == time_of(told)
    assert record["until"] == time_of(tracking.now + 900)


def time_of(second: int) -> str:
    """Return a second as the command prints it in JSON."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def test_the_times_of_an_open_otp(tracking: Tracking, url: str) -> None:
    """Sent, expires and closes: as told, and as the tracker will do it."""
    tracking.sent("5000:1", ago=7, expires_in=300, country="BR")
    tracking.track()
    sent = tracking.now - 7
    record = json.loads(call(url, "find", "5000:1", "--account", ACCOUNT, "--json").out)["places"][0]
    times = (record["sent_at"], record["expires_at"], record["closes_at"], record["country"])
    assert times == (time_of(sent), time_of(sent + 300), time_of(sent + 360), "BR")


def test_many_notices_are_looked_through(tracking: Tracking, url: str) -> None:
    """Each is met once, also where pages overlap; another id that contains it is another one; how many is told."""
    tracking.tell(*(f"verified 1795320000000 {number}" for number in range(5000)))
    for number in (0, 50, 63, 64, 4999):
        assert found(url, str(number))[1] == ["notice"]
    ran = call(url, "find", "5000", "--account", ACCOUNT)
    assert (ran.status, "0 waiting and 5,000 notices of OTPs, 0 leased" in ran.out) == (1, True)


@pytest.mark.parametrize("right", ["zscore", "sismember", "lrange"])
def test_a_missing_right_is_named(tmp_path: Path, right: str) -> None:
    """Of an OTP that is open nothing is said by a user that may not look."""
    with EmbeddedValkey(tmp_path) as server:
        add_user(server.port, USER)
        with redis.Redis(port=server.port) as client:
            tracking = Tracking(client)
            tracking.sent("5000:1")
            tracking.track()
        assert call_in(without_keys(url_of(server)), "find", "5000:1", "--account", ACCOUNT).status == 0
        add_user(server.port, USER, f"-{right}")
        ran = call_in(without_keys(url_of(server)), "find", "5000:1", "--account", ACCOUNT)
        assert (ran.status, ran.out) == (2, "")
        assert f"'{right}'" in ran.line


def test_a_key_that_cannot_be_read_is_named(tracking: Tracking, url: str) -> None:
    """What else is known is said all the same."""
    tracking.sent("5000:1")
    tracking.client.set(tracking.keys.open_otps(ACCOUNT), "no sorted set")
    ran = call(url, "find", "5000:1", "--account", ACCOUNT)
    assert (ran.status, "OTP sent at" in ran.out, "not readable: WRONGTYPE" in ran.out) == (0, True, True)
    assert "otpreport:open:aws" in ran.out
