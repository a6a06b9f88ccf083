"""An app that tells of the OTPs that it sends, and the judgement of what became of each."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from otpreport import Dispatch, Reporter, Verification
from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.tracking.otps import Otps
from tests.support.admin import admin
from tests.support.background import at_rate
from tests.support.fleet import Account, Fleet
from tests.support.wait import until

NAME = "alibaba"
ACCOUNT = Account(NAME, NAME, 300, {"unverified": "report"})
COUNTRIES = ("BR", "SG", "TH")
LEFT = 2.0
"""Seconds that an OTP still has when it is told of, for the test to be short."""

SHARE = 0.7


@dataclass(slots=True)
class App:
    """A web app with two servers, each with a Reporter and a spool: one sends OTPs, the other verifies most of them."""

    sender: Reporter
    verifier: Reporter
    chance: random.Random
    sent: list[str] = field(default_factory=list[str])
    verified: set[str] = field(default_factory=set[str])
    told: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])
    """When (UNIX time) something was told of which OTP."""
    _due: list[tuple[float, str]] = field(default_factory=list[tuple[float, str]])

    def send(self, number: int = 1) -> None:
        """Send so many OTPs; most are verified within half a second."""
        for _ in range(number):
            message_id = f"otp-{len(self.sent)}"
            self.sent.append(message_id)
            self.told.append((time.time(), message_id))
            sent_at = datetime.now(UTC) - timedelta(seconds=30 - LEFT)
            country = COUNTRIES[len(self.sent) % len(COUNTRIES)]
            self.sender.report(
                Dispatch(account=NAME, message_id=message_id, sent_at=sent_at, expires_in=30, country=country)
            )
            if self.chance.random() < SHARE:
                self._due.append((time.monotonic() + self.chance.uniform(0.0, 0.5), message_id))

    def tell_again(self) -> None:
        """Tell once more of each OTP that it was sent, as a spool does whose write timed out and had arrived."""
        sent_at = datetime.now(UTC) - timedelta(seconds=30 - LEFT)
        for message_id in self.sent:
            self.sender.report(Dispatch(account=NAME, message_id=message_id, sent_at=sent_at, expires_in=30))

    def verify(self, *, all_of_them: bool = False) -> None:
        """Verify the OTPs whose users have entered the code by now."""
        now = time.monotonic()
        due = [one for one in self._due if all_of_them or one[0] <= now]
        self._due = [one for one in self._due if one not in due]
        for _, message_id in due:
            self.verified.add(message_id)
            self.told.append((time.time(), message_id))
            event = Verification(account=NAME, message_id=message_id, occurred_at=datetime.now(UTC))
            self.verifier.report(event)

    @contextmanager
    def busy(self, rate: int, *, verifies: bool = True) -> Generator[None]:
        """Send so many OTPs a second for as long as the context lasts; without `verifies` that comes afterwards."""

        def work(due: int) -> None:
            self.send(due)
            if verifies:
                self.verify()

        with at_rate(rate, work):
            yield
        if verifies:
            self.verify(all_of_them=True)


@contextmanager
def app_of(fleet: Fleet, folder: Path, url: str = "") -> Generator[App]:
    """Yield an app that reports to the fleet's Redis, or to the one of this URL."""
    url = url or fleet.valkey.url
    with (
        Reporter(url, tracking=True, spool=folder / "sender.sqlite3", timeout=0.2) as sender,
        Reporter(url, tracking=True, spool=folder / "verifier.sqlite3", timeout=0.2) as verifier,
    ):
        yield App(sender, verifier, random.Random(20261128))


def otps_of(fleet: Fleet) -> Otps | None:
    """Return the account's OTPs."""
    [account] = SnapshotReader(fleet.redis, Keys(), {NAME: "group"}).read().accounts
    return account.otps


def close_all(fleet: Fleet, app: App, deadline: float = 60.0) -> Otps:
    """Wait until every OTP is closed and every report has ended; return the counts."""

    def is_over() -> bool:
        otps = otps_of(fleet)
        if otps is None or otps.waiting or otps.open or otps.total.sent < len(app.sent):
            return False
        return fleet.books()[NAME].settled

    until(is_over, deadline=deadline, pause=0.05)
    otps = otps_of(fleet)
    assert otps is not None
    return otps


def reports(fleet: Fleet) -> dict[bool, Counter[str]]:
    """Return what the provider took, by whether it says that the code was entered."""
    rows: list[Any] = [row for row in fleet.simulator.ledger() if row["taken"]]
    return {
        word: Counter(row["message_id"] for row in rows if row["verified"] is word) for word in (True, False)
    }


def pass_time(seconds: float) -> None:
    """Let the fleet work on, or wait for Redis."""
    threading.Event().wait(seconds)


def go_through_an_outage(fleet: Fleet, app: App) -> None:
    """Send OTPs before and while Redis answers nobody; those verified meanwhile are told by a server that is late."""
    with app.busy(50):
        until(lambda: len(app.sent) > 50)
    fleet.valkey.freeze()
    with app.busy(50, verifies=False):
        pass_time(6.0)
    fleet.valkey.thaw()
    pass_time(2.0)
    app.verify(all_of_them=True)


def judge(fleet: Fleet, app: App) -> Otps:
    """Return the counts; AssertionError unless each OTP is counted once and each report was made once."""
    otps = close_all(fleet, app)
    taken, books = reports(fleet), fleet.books()[NAME]
    silent = set(app.sent) - app.verified
    assert (otps.sent_gap, otps.unverified_gap) == (0, 0)
    assert not books.faults()
    assert otps.total.sent == len(app.sent)
    assert (otps.total.yes, otps.total.no) == (len(app.verified), len(silent))
    assert otps.total.verified == len(app.verified)
    assert (otps.late, otps.unmatched) == (0, 0)
    assert (otps.queued, otps.withheld, otps.unsaid, otps.refused) == (len(silent), 0, 0, 0)
    assert taken[True].keys() == app.verified
    assert taken[False].keys() == silent
    assert fleet.simulator.summary()["false_after_true"] == 0
    assert books.delivered + books.duplicate == books.taken >= len(app.sent)
    assert not admin(fleet.redis).exists(Keys().open_otps(NAME), Keys().early_otps(NAME))
    return otps
