"""OTPs at length: workers killed a hundred times, Redis killed, frozen, full; and what the rules are good for."""

import random
from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.chaos import SETTINGS, Row, record
from tests.support.fleet import Fleet
from tests.support.tracked import (
    ACCOUNT,
    NAME,
    App,
    app_of,
    close_all,
    go_through_an_outage,
    judge,
    pass_time,
    reports,
)
from tests.support.tracking_worker import rules
from tests.support.wait import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

KILLS, RESTARTS, FREEZES = 100, 3, 3


def write_down(fault: str, times: int, fleet: Fleet, app: App) -> None:
    """Record the row of the table; an event is an OTP, and lost is one that is not counted."""
    otps, taken = close_all(fleet, app, 120), reports(fleet)
    again = sum(count - 1 for counts in taken.values() for count in counts.values())
    lost = len(app.sent) - otps.total.yes - otps.total.no
    record(Row(f"OTPs: {fault}", times, len(app.sent), abs(lost), again))


def test_workers_killed(tmp_path: Path) -> None:
    """A hundred kills at random instants: all gaps are 0, and each OTP not verified is reported once."""
    chance = random.Random(20261128)
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:
        workers = [fleet.launch(rules("quick")).wait_until_started() for _ in range(2)]
        with app.busy(60):
            for _ in range(KILLS):
                workers.append(fleet.launch(rules("quick")))
                pass_time(chance.uniform(0.0, 0.7))
                workers.pop(0).kill9()
                workers[0].wait_until_started()
        write_down("`kill -9` of a worker at a random instant", KILLS, fleet, app)
        judge(fleet, app)


def test_redis_killed(tmp_path: Path) -> None:
    """Redis killed and started again with its append-only file: every count is what it would be without."""
    always = {"appendfsync": "always"}
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS, options=always) as fleet, app_of(fleet, tmp_path) as app:
        fleet.launch(rules("quick")).wait_until_started()
        with app.busy(50):
            for _ in range(RESTARTS):
                pass_time(2.0)
                fleet.valkey.kill()
                pass_time(5.0)
                fleet.valkey.start()
        write_down("Redis: `kill -9`, started again after 5 s", RESTARTS, fleet, app)
        judge(fleet, app)


@pytest.mark.parametrize("rule", ["quick", "hasty"])
def test_redis_frozen(tmp_path: Path, rule: str) -> None:
    """Counts are what they would be without; with no time of grace OTPs that were verified close as not verified."""
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:
        fleet.launch(rules(rule)).wait_until_started()
        for _ in range(FREEZES):
            go_through_an_outage(fleet, app)
        if rule == "quick":
            write_down("Redis answers nobody (SIGSTOP, 6 s)", FREEZES, fleet, app)
            judge(fleet, app)
            return
        otps = close_all(fleet, app)
        assert otps.total.no > len(set(app.sent) - app.verified)
        assert (otps.sent_gap, otps.unverified_gap) == (0, 0)
        assert reports(fleet)[True].keys() == app.verified, "a late true follows a false that was wrong"


def test_redis_full(tmp_path: Path) -> None:
    """Notices are refused and spooled meanwhile; what is there is noted and closed, and every gap stays 0."""
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:
        fleet.launch(rules("quick")).wait_until_started()
        client = admin(fleet.redis)
        with app.busy(50):
            until(lambda: len(app.sent) > 100)
            client.config_set("maxmemory", client.info("memory")["used_memory"] - 100_000)
            pass_time(8.0)
            client.config_set("maxmemory", 0)
            pass_time(1.0)
        write_down("Redis full (`maxmemory`, noeviction)", 1, fleet, app)
        until(
            lambda: reports(fleet)[True].keys() == app.verified
        )  # a spool may come back after all OTPs are closed
        otps, taken = close_all(fleet, app), reports(fleet)
        assert (otps.sent_gap, otps.unverified_gap, otps.total.sent) == (0, 0, len(app.sent))
        assert not fleet.books()[NAME].faults()
        assert set(taken[False]) >= set(app.sent) - app.verified
        assert set(taken[False].values()) == {1}


@pytest.mark.parametrize("rule", ["quick", "forgetful"])
def test_everything_is_told_again(tmp_path: Path, rule: str) -> None:
    """A repeat of a closed OTP changes no number; where closed ones are forgotten it counts again, as not verified."""
    with Fleet(tmp_path, ACCOUNT, settings=SETTINGS) as fleet, app_of(fleet, tmp_path) as app:
        fleet.launch(rules(rule)).wait_until_started()
        with app.busy(100):
            until(lambda: len(app.sent) > 200)
        close_all(fleet, app)
        app.tell_again()
        until(lambda: not admin(fleet.redis).exists(f"otpreport.{NAME}.otps"))
        pass_time(1.0)
        if rule == "quick":
            write_down("all of them told again", 1, fleet, app)
            judge(fleet, app)
            return
        otps = close_all(fleet, app)
        assert otps.total.sent == 2 * len(app.sent)
        assert otps.total.no > len(set(app.sent) - app.verified)
