"""The queue of a misspelt account is dropped: counted before, and only where no worker can want it."""

import time

import pytest
import redis

from otpreport import Reporter
from tasks.fleet.deployment import Deployment, Fields
from tasks.fleet.last_error import LastErrors
from tasks.fleet.presence import Presence
from tasks.keys import Keys
from tasks.queue.unserved import UnservedQueue
from tests.support.admin import admin
from tests.support.command import call
from tests.support.leased import event
from tests.support.queues import Fleet

PURGE = ("accounts", "purge", "tencnet", "--unserved")


@pytest.fixture
def misspelt(url: str, valkey: redis.Redis) -> redis.Redis:
    """Report 1,500 events, more than a page, for an account that nobody has; return the server."""
    with Reporter(url, spool=False, timeout=5) as reporter:
        events = [event(f"m-{number}", account="tencnet") for number in range(1500)]
        assert reporter.report_many(events).dropped == 0
    return valkey


def test_it_is_counted_and_dropped(url: str, misspelt: redis.Redis) -> None:
    """The preview names the ends; the audit has who and why; the books know nothing of what was never taken."""
    ran = call(url, *PURGE)
    assert (ran.status, ran.err) == (2, "no terminal to confirm on: add --yes to purge\n")
    assert ran.out.split()[-4:] == ["otpreport.tencnet", "1,500", "m-0", "m-1499"]
    ran = call(url, *PURGE, "--yes", "--json", "--by", "kim", "--reason", "typo")
    assert ran.json == {"account": "tencnet", "found": 1500, "purged": 1500}
    assert admin(misspelt).keys("*tencnet*") == []
    assert not misspelt.exists(Keys().books)
    begun = call(url, "audit", "--json").json["audit"][1]
    found = (begun["action"], begun["by"], begun["account"], begun["events"], begun["reason"])
    assert found == ("purge-unserved", "kim", "tencnet", 1500, "typo")
    assert "nothing to purge" in call(url, *PURGE, "--yes").out


def test_what_came_after_the_count_stays(url: str, misspelt: redis.Redis) -> None:
    """It drops the oldest, as many as were shown: the producer may still be at work."""
    queue = UnservedQueue(misspelt, Keys(), "tencnet")
    seen = queue.lengths()
    with Reporter(url, spool=False, timeout=5) as reporter:
        assert reporter.report(event("late", account="tencnet")).status == "queued"
    assert list(queue.drop(seen)) == [1000, 500]
    assert queue.ends("otpreport.tencnet") == ("late", "late")


@pytest.mark.parametrize(
    ("note", "fields", "why"),
    [
        ({"host": "h", "serves": ["tencnet"]}, {}, "worker w1 on h may serve it"),
        ({"host": "h"}, {}, "worker w1 on h may serve it"),
        ({"serves": ["tencent"]}, {"tencnet": {"provider": "tencent"}}, "try again ten minutes after"),
    ],
    ids=("served", "by a version that does not say", "announced"),
)
async def test_not_while_a_worker_may_take_it(
    fleet: Fleet,
    url: str,
    misspelt: redis.Redis,
    note: dict[str, object],
    fields: dict[str, Fields],
    why: str,
) -> None:
    """The settings here may be older than the workers'."""
    presence = Presence(fleet.client, fleet.keys, "w1", LastErrors())
    for _ in range(2):  # the settings go with the second, when Redis has asked for them
        await presence.announce(note, Deployment(fields))
    misspelt.zadd(fleet.keys.workers, {"w1": (time.time() + 60) * 1000})
    ran = call(url, *PURGE, "--yes")
    assert (ran.status, why in ran.line) == (2, True)
    assert admin(misspelt).llen("otpreport.tencnet") == 1500


def test_not_of_an_account_in_the_settings(url: str) -> None:
    """For those there is `pause --mode shed`, which counts what it drops."""
    ran = call(url, "accounts", "purge", "tencent", "--unserved", "--yes")
    assert (ran.status, "`accounts pause --mode shed` drops" in ran.line) == (2, True)
    ran = call(url, *PURGE, "--all", "--yes")
    assert (ran.status, ran.line) == (2, "--unserved drops the whole queue: leave the filter and --all out")


def test_not_the_notices_of_an_account_in_the_settings(url: str, valkey: redis.Redis) -> None:
    """They are listed as a queue of their own where nobody serves the account; else the workers count them."""
    for account in ("tencent", "tencnet"):
        valkey.lpush(Keys().notices(account), "verified 1795837722000 m-1")
    refused = call(url, "accounts", "purge", "tencent.otps", "--unserved", "--yes")
    assert refused.status == 2
    assert "and it is in the settings here" in refused.err
    purged = call(url, "accounts", "purge", "tencnet.otps", "--unserved", "--yes", "--json")
    assert purged.json == {"account": "tencnet.otps", "found": 1, "purged": 1}
    assert valkey.exists(Keys().notices("tencent"), Keys().notices("tencnet")) == 1


def test_the_other_purge_names_it(url: str, misspelt: redis.Redis) -> None:
    """Who tries to purge a misspelt account is led here."""
    ran = call(url, "accounts", "purge", "tencnet", "--all", "--yes")
    assert (ran.status, ran.line) == (2, "tencnet is in no settings here: --unserved drops its queue")
