"""OTPs are followed by real workers through kills and outages; the provider judges their reports."""

from pathlib import Path

from tasks.keys import Keys
from tests.support.admin import admin
from tests.support.fleet import Fleet
from tests.support.tracked import ACCOUNT, NAME, app_of, go_through_an_outage, judge, pass_time
from tests.support.tracking_worker import rules
from tests.support.wait import until


def test_workers_that_die(tmp_path: Path) -> None:
    """Each OTP is counted once, and each that was not verified is reported once, whichever worker is killed when."""
    with Fleet(tmp_path, ACCOUNT) as fleet, app_of(fleet, tmp_path) as app:
        workers = [fleet.launch(rules("quick")) for _ in range(2)]
        for worker in workers:
            worker.wait_until_started()
        with app.busy(100):
            for _ in range(4):
                pass_time(0.4)
                workers.append(fleet.launch(rules("quick")))
                workers.pop(0).kill9()
        judge(fleet, app)
        assert len(app.sent) > 50
        bury_rubbish(fleet)


def bury_rubbish(fleet: Fleet) -> None:
    """Tell what is no notice, and see it become a dead letter with its bytes."""
    rubbish = b"sent \xff\n\n\x00{"
    admin(fleet.redis).lpush(Keys().notices(NAME), rubbish)
    until(lambda: len(fleet.dead_letters(NAME)) == 1)
    [(story, raw)] = fleet.dead_letters(NAME)
    assert (story["reason"], raw) == ("invalid", rubbish)
    assert not fleet.books()[NAME].faults()


def test_redis_away(tmp_path: Path) -> None:
    """What the apps kept while Redis answered nobody counts as if nothing had been."""
    with Fleet(tmp_path, ACCOUNT) as fleet, app_of(fleet, tmp_path) as app:
        fleet.launch(rules("quick")).wait_until_started()
        go_through_an_outage(fleet, app)
        judge(fleet, app)
