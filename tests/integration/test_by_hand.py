"""Accounts paused, resumed and slowed down from the command line: what is in Redis then, and what is refused."""

import pytest
import redis

from otpreport.wire import encode
from tasks.accounts.states import STORED
from tests.support.admin import admin
from tests.support.command import call, run
from tests.support.events import verification


def stored(valkey: redis.Redis, name: str = "tencent") -> dict[str, str]:
    """Return what Redis has of the account."""
    found: dict[bytes, bytes] = admin(valkey).hgetall(f"otpreport:account:{name}")
    return {field.decode(): value.decode() for field, value in found.items()}


def test_a_paused_account_says_who_and_why(url: str, valkey: redis.Redis) -> None:
    """In Redis, in the list, and in the audit; resumed, it is as before."""
    ran = call(url, "accounts", "pause", "tencent", "--reason", "ticket 4711", "--by", "alice")
    assert ran.out == "tencent is paused (was running): its events wait until it is resumed\n"
    state = stored(valkey)
    assert (state["state"], state["by"], state["message"]) == ("held", "alice", "ticket 4711")
    (listed,) = (row for row in call(url, "accounts", "list", "--json").json if row["account"] == "tencent")
    assert (listed["state"], listed["by"], listed["message"]) == ("paused", "alice", "ticket 4711")
    assert "tencent is paused by alice since" in call(url, "accounts", "list").out
    assert call(url, "accounts", "resume", "tencent", "--json").json == {
        "account": "tencent",
        "state": "running",
        "was": "paused",
    }
    assert stored(valkey).keys() == {"resumed_ms"}
    actions = [
        (entry["action"], entry["by"] == "alice") for entry in call(url, "audit", "--json").json["audit"]
    ]
    assert actions == [("resume", False), ("pause", True)]


@pytest.mark.parametrize("state", ["stopped", "open", "shed"])
def test_resume_ends_every_state(url: str, valkey: redis.Redis, state: str) -> None:
    """Whatever an account is in, it can be made to run; what led there is forgotten."""
    admin(valkey).hset(
        "otpreport:account:tencent", mapping={"state": state, "permanent_run": 50, "code": "x"}
    )
    admin(valkey).hset("otpreport:breaker:tencent", mapping={"run": 9})
    assert call(url, "accounts", "resume", "tencent").out == f"tencent is running (was {STORED[state]})\n"
    assert stored(valkey).keys() == {"resumed_ms"}
    assert not valkey.exists("otpreport:breaker:tencent")


def test_an_account_keeps_going_until_it_is_resumed_without(url: str, valkey: redis.Redis) -> None:
    """Who wants it is in Redis, in the list, the status, the check and the audit; a plain resume ends it."""
    told = "until `accounts resume tencent` without --keep-going"
    ran = call(url, "accounts", "resume", "tencent", "--keep-going", "--by", "alice")
    assert ran.out == (
        f"tencent is running (was running), and a run of refused events will not stop it: {told}\n"
    )
    assert stored(valkey)["keep_going"] == "alice"
    goes_on = f"tencent keeps going despite refused events, by alice: {told}"
    assert goes_on in call(url, "accounts", "list").out
    assert goes_on in call(url, "status").out
    assert "tencent keeps going despite refused events, by alice" in run(url, "check").out
    rows = call(url, "accounts", "list", "--json").json + call(url, "status", "--json").json["accounts"]
    assert [row["keep_going"] for row in rows if row["account"] == "tencent"] == ["alice", "alice"]
    assert call(url, "audit", "--json").json["audit"][0]["keep_going"] is True
    ran = call(url, "accounts", "resume", "tencent", "--keep-going", "--json")
    assert ran.json == {"account": "tencent", "state": "running", "was": "running", "keep_going": True}
    call(url, "accounts", "resume", "tencent")
    assert stored(valkey).keys() == {"resumed_ms"}
    assert "goes on" not in call(url, "status").out


def test_a_rate_says_who_lowered_it_and_when(url: str, valkey: redis.Redis) -> None:
    """Status, its JSON and the check tell; a rate that an earlier version changed since has nobody's name."""
    call(url, "accounts", "rate", "tencent", "200", "--reason", "ticket 4711", "--by", "kim")
    said = "tencent limited to 200 of 1,000 requests/s by kim since 20"
    checked = run(url, "check")
    assert said in call(url, "status").out
    assert said in checked.out
    assert "`otpreport accounts rate tencent default`" in checked.out
    (row,) = (row for row in call(url, "status", "--json").json["accounts"] if row["account"] == "tencent")
    assert (row["rate_by_hand"], row["rate_by"], row["rate_why"]) == (200, "kim", "ticket 4711")
    [group] = admin(valkey).keys("otpreport:rate:*")
    admin(valkey).hset(group, "override", 300)  # as a command of an earlier version does
    ran = call(url, "status")
    assert "tencent limited to 300 of 1,000 requests/s" in ran.out
    assert "kim" not in ran.out
    call(url, "accounts", "rate", "tencent", "default")
    assert not admin(valkey).hgetall(group)
    assert "limited to" not in call(url, "status").out


def test_events_are_not_dropped_unasked(url: str, valkey: redis.Redis) -> None:
    """Without a terminal `--mode shed` needs --yes, and says how many events it would drop."""
    for number in range(3):
        valkey.lpush("otpreport.tencent", encode(verification(number), task_id=str(number)))
    ran = run(url, "accounts", "pause", "tencent", "--mode", "shed", "--reason", "x")
    assert ran.status == 2
    assert ran.line.startswith("shed would permanently drop 3 waiting events and all new ones: add --yes")
    assert stored(valkey) == {}
    assert call(url, "accounts", "pause", "tencent", "--mode", "shed", "--reason", "x", "--yes").status == 0
    assert stored(valkey)["state"] == "shed"


def test_a_rate_is_set_and_set_back(url: str, valkey: redis.Redis) -> None:
    """It is the group's, at most what the settings say, and shown as the effective one."""
    ran = call(url, "accounts", "rate", "tencent", "200", "--reason", "they asked")
    assert ran.out == "tencent: at most 200 requests/s (was 1,000)\n"
    (listed,) = (row for row in call(url, "accounts", "list", "--json").json if row["account"] == "tencent")
    assert (listed["rate_configured"], listed["rate_effective"]) == (1000, 200)
    back = call(url, "accounts", "rate", "tencent", "default", "--json").json
    assert back == {"accounts": ["tencent"], "rate": 1000, "was": 200}
    (listed,) = (row for row in call(url, "accounts", "list", "--json").json if row["account"] == "tencent")
    assert listed["rate_effective"] == 1000
    assert [entry["action"] for entry in call(url, "audit", "--json").json["audit"]] == ["rate", "rate"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("pause", "tencnet", "--reason", "x"), "tencnet: no such account: did you mean tencent?"),
        (("pause", "tencnet"), "tencnet: no such account: did you mean tencent?"),
        (("resume", "nobody"), "nobody: no such account: use one of alibaba, tencent"),
        (("pause", "tencent"), "--reason is missing: say why"),
        (
            ("pause", "tencent", "--reason", "x", "--mode", "drop"),
            "--mode 'drop' is unknown: use wait (events stay queued)",
        ),
        (("pause", "tencent", "--reason", "x\ny"), "--reason must be one line"),
        (("pause", "tencent", "--reason", ""), "--reason is missing: say why"),
        (("pause", "tencent", "--reason", " "), "--reason is missing: say why"),
        (("pause", "tencent", "--reason", "x", "--by", "\x07"), "--by"),
        (("rate", "tencent", "0"), "the rate must be 1 to 1000 requests/s or 'default', not '0'"),
        (("rate", "tencent", "1001"), "the rate must be 1 to 1000 requests/s"),
        (("rate", "tencent", "9" * 5000), "the rate must be 1 to 1000 requests/s"),
        (("rate", "tencent", "-5"), ""),
        (("rate", "tencent", "fast"), "the rate must be 1 to 1000 requests/s"),
    ],
)
def test_a_wrong_command_changes_nothing(
    url: str, valkey: redis.Redis, command: tuple[str, ...], said: str
) -> None:
    """Status 2, what is wrong, and nothing in Redis."""
    ran = call(url, "accounts", *command)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert not admin(valkey).dbsize()
