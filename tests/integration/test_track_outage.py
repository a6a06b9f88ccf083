"""Twenty minutes in which Redis takes nothing, under load: the counts are what they would be without."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import redis

from tasks.tracking.otps import Country
from tests.support.admin import admin
from tests.support.otps import ACCOUNT, Tracking

START = 1_800_000_000
OTPS, LASTS = 3000, 2400
"""OTPs, and seconds over which they are sent; each may be verified for 600 seconds."""

AWAY = range(300, 1500)
"""Seconds in which Redis answers too late."""

UNSURE = 5
"""Seconds of notices that Redis took before that, while the apps heard of it too late: they are written again."""

FASTER = 3
"""How many times faster than they were made the spools come back."""

STEP = 5


@dataclass(frozen=True, slots=True)
class Told:
    """A notice, when it was made, and by which of two servers."""

    at: int
    server: int
    notice: str


def load() -> list[Told]:
    """Return all notices; two servers make them, and an OTP is verified through either of them."""
    chance = random.Random(20261128)
    told: list[Told] = []
    for number in range(OTPS):
        sent = chance.randrange(LASTS)
        country = chance.choice(["BR", "SG", "TH"])
        notice = f"sent {(START + sent) * 1000} 600 {country} otp-{number}"
        told.append(Told(sent, chance.randrange(2), notice))
        if chance.random() < 0.7:
            entered = sent + min(599, 1 + round(chance.expovariate(1 / 60)))
            notice = f"verified {(START + entered) * 1000} otp-{number}"
            told.append(Told(entered, chance.randrange(2), notice))
    return sorted(told, key=lambda one: one.at)


def arrivals(told: list[Told], away: range) -> Iterator[tuple[int, str]]:
    """Yield when each notice is written to Redis: in an outage by a spool, each server's in its own pace."""
    for one in told:
        if one.at not in away:
            yield one.at, one.notice
        if away and away.start - UNSURE <= one.at < away.stop:
            pace = FASTER + 2 * one.server
            yield away.stop + (one.at - away.start) // pace, one.notice


def play(tracking: Tracking, away: range, *, watch: int = 60) -> dict[str, Country]:
    """Let it all happen by a clock of our own; return the counts."""
    admin(tracking.client).flushall()
    tracking.set_clock(START)
    waiting = sorted(arrivals(load(), away), key=lambda one: one[0], reverse=True)
    end = LASTS + 600 + 60 + 1800
    for second in range(0, end, STEP):
        tracking.set_clock(START + second)
        due: list[str] = []
        while waiting and waiting[-1][0] <= second:
            due.append(waiting.pop()[1])
        if due:
            tracking.tell(*due)
        if second in away:
            continue
        while tracking.track(watch=watch)[2]:
            pass
    otps = tracking.otps
    assert (otps.open, tracking.gaps) == (0, (0, 0))
    assert not tracking.client.exists(tracking.keys.notices(ACCOUNT))
    return dict(otps.countries)


@pytest.mark.timeout(120)
def test_twenty_minutes_without_redis_change_no_count(valkey: redis.Redis) -> None:
    """What was spooled is written again, in part twice: sent, verified, yes and no are as without."""
    tracking = Tracking(valkey)
    without = play(tracking, range(0))
    assert sum(country.sent for country in without.values()) == OTPS
    assert play(tracking, AWAY) == without


@pytest.mark.timeout(120)
def test_without_the_watch_twenty_minutes_change_the_counts(valkey: redis.Redis) -> None:
    """Negative control: OTPs whose news is in a spool close as not verified."""
    tracking = Tracking(valkey)
    without = play(tracking, range(0))
    other = play(tracking, AWAY, watch=0)
    assert sum(country.no for country in other.values()) > sum(country.no for country in without.values())
