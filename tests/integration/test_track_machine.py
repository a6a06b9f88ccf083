"""Notices in any order, repeated, late or missing, noted by two who come and go: every OTP keeps its one place."""

from collections.abc import Mapping
from typing import Any

import hypothesis.strategies as st
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tasks.countries import ISO
from tasks.message import decode
from tasks.tracking.otps import Country
from tests.support.admin import admin
from tests.support.otps import ACCOUNT, Tracking

IDS = 8
"""OTPs, each to a country of its own, so that its counts are seen."""

EXPIRES_IN, GRACE, GAP, WATCH, EARLY = 60, 60, 10, 60, 900
ROOM = 10**6
EPOCH, FLAGS, LIVES = 1767225600, 2048, 8192
numbers = st.integers(0, IDS - 1)


class Otps(RuleBasedStateMachine):
    """What is told, and when; the counts are held against it after each step."""

    client: Any

    def __init__(self) -> None:
        super().__init__()
        admin(self.client).flushall()
        self.trackers = [Tracking(self.client), Tracking(self.client)]
        self.one = self.trackers[0]
        self.told_sent: set[int] = set()
        self.verified_at: dict[int, int] = {}
        self.due: dict[int, int] = {}
        self.closed: dict[int, bool] = {}
        self.looked, self.watched = 0, 0

    @initialize()
    def begin(self) -> None:
        """Let somebody look, so that the account is tracked and watched."""
        self.sent(0, 0)
        self.call(0, 100, 100)

    @rule(number=numbers, ago=st.sampled_from([0, 0, 0, 3, 70, 500, -1000]))
    def sent(self, number: int, ago: int) -> None:
        """Tell that an OTP was sent, again or for the first time, by a clock that may be off."""
        self.one.sent(f"id-{number}", ago=ago, expires_in=EXPIRES_IN, country=ISO[number])
        self.told_sent.add(number)

    @rule(number=numbers)
    def verified(self, number: int) -> None:
        """Tell that an OTP was verified, again or for the first time."""
        self.one.verified(f"id-{number}")
        self.verified_at.setdefault(number, self.one.now)

    @rule(number=numbers, times=st.integers(20, 60))
    def repeat(self, number: int, times: int) -> None:
        """Tell the same again and again: what comes after it waits for long."""
        for _ in range(times):
            self.verified(number)

    @rule(seconds=st.integers(1, 9))
    def wait(self, seconds: int) -> None:
        """Let some seconds pass."""
        self.one.set_clock(self.one.now + seconds)

    @rule(seconds=st.integers(11, 1000))
    def be_away(self, seconds: int) -> None:
        """Let nobody look for long."""
        self.one.set_clock(self.one.now + seconds)

    @rule(who=st.integers(0, 1), notices=st.integers(1, 8), closings=st.integers(1, 8))
    def call(self, who: int, notices: int, closings: int) -> None:
        """Let one of the two note and close."""
        before, now = self._closed(), self.one.now
        if now - self.looked > GAP:
            self.watched = now + WATCH
        self.looked = now
        self.trackers[who].track(room=ROOM, notices=notices, closings=closings)
        self._learn_ends()
        for number in self._closed().keys() - before.keys():
            self._judge(number, now)

    @rule(who=st.integers(0, 1), seconds=st.sampled_from([60, 130, 300]), notices=st.sampled_from([1, 100]))
    def work(self, who: int, seconds: int, notices: int) -> None:
        """Let one of them look as a worker does, or as one that is slow."""
        for _ in range(seconds // 5):
            self.wait(5)
            self.call(who, notices, 100)

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        """Let a worker be replaced: it knows nothing."""
        self.trackers[who] = Tracking(self.client)

    @invariant()
    def adds_up(self) -> None:
        """Each OTP is counted once, stands in one place, and each report of one not verified is there once."""
        otps = self.one.otps if self.looked else None
        if otps is None:
            return
        assert (otps.sent_gap, otps.unverified_gap) == (0, 0)
        assert all(
            max(count.sent, count.verified, count.yes + count.no) <= 1 for count in otps.countries.values()
        )
        events = [str(decode(raw).kwargs["event"]) for raw in self.one.negatives]
        assert len(set(events)) == len(events) == otps.total.no == otps.queued

    def teardown(self) -> None:
        """Note all that was told, and let every OTP end."""
        if not self.looked:
            return
        while self.one.otps.waiting:
            self.call(0, 100, 100)
        for _ in range((EXPIRES_IN + GRACE + WATCH + EARLY) // 5 + 5):
            self.wait(5)
            self.call(0, 100, 100)
        self.adds_up()
        otps = self.one.otps
        for number in range(IDS):
            count = otps.countries.get(ISO[number], Country())
            assert count.sent == (number in self.told_sent)
            assert count.yes + count.no == count.sent
        unsent = self.verified_at.keys() - self.told_sent
        late = {number for number, yes in self.closed.items() if not yes} & self.verified_at.keys()
        assert (otps.open, otps.late) == (0, len(late))
        assert len(unsent) <= otps.unmatched <= len(self.verified_at)
        assert not self.client.exists(self.one.keys.early_otps(ACCOUNT))

    def _closed(self) -> dict[int, bool]:
        counts: Mapping[str, Country] = self.one.otps.countries if self.looked else {}
        pairs = ((number, counts.get(ISO[number], Country())) for number in range(IDS))
        self.closed = {number: count.yes > 0 for number, count in pairs if count.yes + count.no}
        return self.closed

    def _learn_ends(self) -> None:
        for name, score in self.client.zrange(self.one.keys.open_otps(ACCOUNT), 0, -1, withscores=True):
            self.due.setdefault(int(name.decode().removeprefix("id-")), int(score) // FLAGS // LIVES + EPOCH)

    def _judge(self, number: int, now: int) -> None:
        """Check that it closed after its end, while it was watched, and as verified if that was told before."""
        assert now > self.due[number]
        assert now >= self.watched
        told = self.verified_at.get(number)
        if told is not None and told <= self.due[number]:
            assert self.closed[number], "it was told in time"
        if told is None:
            assert not self.closed[number]


@pytest.mark.timeout(120)
def test_every_otp_keeps_its_place(valkey: redis.Redis) -> None:
    """Whatever is told in whatever order, by whoever it is noted."""
    Otps.client = valkey
    run_state_machine_as_test(
        Otps,
        settings=settings(
            max_examples=12, stateful_step_count=30, suppress_health_check=[HealthCheck.too_slow]
        ),
    )
