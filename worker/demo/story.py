"""`demo --story`: SMS to one country stop arriving, then somebody pumps SMS; the conversion rate shows it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

import redis

from otpreport import Dispatch, Reporter, Verification
from otpreport.event import Event
from tasks.fleet.snapshot import AccountSnapshot, SnapshotReader
from tasks.tracking.otps import Otps
from worker.demo.alarm import Alarm, Ring
from worker.demo.evidence import KEYS, ledger
from worker.demo.processes import Processes
from worker.demo.story_display import Display
from worker.demo.verdict import Sent, Verdict, judge

ACCOUNT = "alibaba"

END = 44
"""Seconds in which OTPs are sent."""

DEADLINE = 60.0
"""Seconds for the rest to be closed and reported."""

TICK = 0.1
REDIS_TIMEOUT = 5.0

LIFE, LEFT = 30, 6
"""An OTP's `expires_in`, and how many seconds of it are left when it is sent here: it was sent a little earlier."""

DELAYS, SHARES = (0.2, 0.4, 0.6, 0.8, 1.1, 1.5, 2.0), (18, 30, 22, 14, 9, 4, 3)
"""Seconds until users enter the code, and how many in a hundred take so long."""

REDIRECTED = "SMS to Brazil take another route and arrive again."


@dataclass(slots=True)
class World:
    """What happens to SMS: OTPs sent a second, and the share that is verified, by country."""

    sent: dict[str, float] = field(default_factory=lambda: {"CN": 20.0, "SG": 4.0, "BR": 6.0})
    conversion: dict[str, float] = field(default_factory=lambda: {"CN": 0.72, "SG": 0.81, "BR": 0.61})


def _start(_: World) -> None:
    """Change nothing."""


def _fail(world: World) -> None:
    world.conversion["BR"] = 0.03


def _repair(world: World) -> None:
    world.conversion["BR"] = 0.61


def _pump(world: World) -> None:
    world.sent["NG"], world.conversion["NG"] = 30.0, 0.0


def _block(world: World) -> None:
    world.sent["NG"] = 0.0


PLOT: Mapping[int, tuple[str, Callable[[World], None]]] = {
    0: ("An app sends OTPs to three countries.", _start),
    16: ("SMS to Brazil no longer arrive.", _fail),
    29: (REDIRECTED, _repair),
    33: ("Somebody has SMS sent to Nigeria, to numbers that earn with each.", _pump),
    40: ("The app blocks Nigeria.", _block),
}
"""Second, what is said, and what changes."""


class WebApp:
    """A web app: it sends OTPs, and its users enter most of them."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._random = random.Random(20261128)  # noqa: S311 - the same story each time
        self._owed: dict[str, float] = {}
        self._entered: list[tuple[float, str]] = []
        self.sent: list[Sent] = []
        self.world = World()

    def act(self, now: float, seconds: float) -> None:
        """Send what is due since the last time, and enter the codes whose time has come."""
        events: list[Event] = []
        for country, pace in self.world.sent.items():
            owed = self._owed.get(country, 0.0) + pace * seconds
            self._owed[country] = owed % 1
            events += (self._send(country, now) for _ in range(int(owed)))
        while self._entered and self._entered[0][0] <= now:
            message_id = heappop(self._entered)[1]
            events.append(Verification(account=ACCOUNT, message_id=message_id, occurred_at=datetime.now(UTC)))
        receipts = self._reporter.report_many(events)
        if receipts.dropped:
            raise RuntimeError(f"events were dropped: {receipts.reasons}")

    def _send(self, country: str, now: float) -> Dispatch:
        message_id = f"{self._random.randrange(10**17, 10**18)}^0"
        is_verified = self._random.random() < self.world.conversion[country]
        if is_verified:
            [delay] = self._random.choices(DELAYS, SHARES)
            heappush(self._entered, (now + delay, message_id))
        self.sent.append(Sent(message_id, is_verified))
        sent_at = datetime.now(UTC) - timedelta(seconds=LIFE - LEFT)
        return Dispatch(
            account=ACCOUNT, message_id=message_id, sent_at=sent_at, expires_in=LIFE, country=country
        )


def play(processes: Processes, display: Display) -> Verdict:
    """Play the story; return whether all is accounted for."""
    with (
        redis.Redis(port=processes.valkey.port) as client,
        Reporter(processes.valkey.url, spool=False, timeout=REDIS_TIMEOUT, tracking=True) as reporter,
    ):
        snapshots = SnapshotReader(client, KEYS, {ACCOUNT: ACCOUNT})
        app = WebApp(reporter)
        with display:
            _live(app, snapshots, processes, display)
            last = _finish(app, snapshots, processes, display)
        return judge(app.sent, last, ledger(processes.simulator_url))


def _live(app: WebApp, snapshots: SnapshotReader, processes: Processes, display: Display) -> None:
    """Send OTPs, a second for each minute of the plot, and look at the counts once in each."""
    alarm, began = Alarm(), time.monotonic()
    for minute in range(END):
        if minute in PLOT:
            text, change = PLOT[minute]
            change(app.world)
            display.say(minute, text)
        for tick in _ticks(began + minute):
            app.act(tick, TICK)
        if fault := processes.failed():
            raise RuntimeError(fault)
        otps = _account(snapshots).otps or Otps(ACCOUNT, 0)
        for ring in alarm.look(otps.countries):
            display.ring(minute + 1, ring, _words(ring))
        display.show(minute + 1, otps, alarm)


def _ticks(second: float) -> Iterator[float]:
    """Yield ten times within the second."""
    for tick in range(round(1 / TICK)):
        moment = second + tick * TICK
        time.sleep(max(0.0, moment - time.monotonic()))
        yield moment


def _finish(
    app: WebApp, snapshots: SnapshotReader, processes: Processes, display: Display
) -> AccountSnapshot:
    """Wait until each OTP is closed and all reports are delivered; return the last look."""
    app.world.sent.clear()
    display.say(END, "The app stops; the last OTPs end, and their reports go out.")
    end = time.monotonic() + DEADLINE
    while True:
        app.act(time.monotonic(), 0.0)
        account = _account(snapshots)
        otps = account.otps
        if otps and not (otps.open or otps.waiting or account.waiting or account.records):
            return account
        if fault := processes.failed():
            raise RuntimeError(fault)
        if time.monotonic() > end:
            raise RuntimeError(f"not finished within {DEADLINE:.0f} s")
        time.sleep(TICK)


def _account(snapshots: SnapshotReader) -> AccountSnapshot:
    [account] = snapshots.read().accounts
    return account


def _words(ring: Ring) -> str:
    share = f"{ring.value * 100:.0f} %"
    if ring.alert == "OtpreportOtpsPumped":
        return f"a burst to {ring.country}, {share} verified"
    return f"{ring.country or 'all'}: {share} of the usual verified"
