"""Keys that change under a running worker, and several accounts with keys of their own."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.admin import admin
from tests.support.fleet import APP, LONG, SECRET, TENCENT, Account, Fleet
from tests.support.simulator import Json
from tests.support.wait import until
from tests.support.worker_process import WorkerProcess, odd

RATE = 200
NEXT, NEXT_SECRET = "AKIDEXAMPLEEXAMPLEEXAMPLEEXAMPLE0002", "ANOTHER+s3cr3t/that+must/show+nowhere"
NEXT_KEY = {"provider": "tencent", "id": NEXT, "secret": NEXT_SECRET, "apps": [APP], "rate": RATE}
VARIABLE = "OTPREPORT_ACCOUNTS__TENCENT__"


class KeyFiles:
    """An account's key in two files."""

    def __init__(self, folder: Path) -> None:
        self._id, self._secret = folder / "id", folder / "secret"
        self.variables = {
            f"{VARIABLE}SECRET_ID_FILE": str(self._id),
            f"{VARIABLE}SECRET_KEY_FILE": str(self._secret),
        }
        self.write(TENCENT.key, SECRET)

    def write(self, key: str, secret: str) -> None:
        """Put a key into the files, one after the other."""
        self._id.write_text(key + "\n")
        self._secret.write_text(secret + "\n")


def rows_of(fleet: Fleet, key: str) -> list[Json]:
    """Return the arrivals with a key."""
    return [row for row in fleet.simulator.ledger() if row["key"] == key]


def state(fleet: Fleet) -> str:
    """Return the account's state."""
    stored: bytes | None = admin(fleet.redis).hget("otpreport:account:tencent", "state")
    return (stored or b"running").decode()


def probe_now(fleet: Fleet) -> None:
    """Let the next probe of the stopped account be due at once, not in half a minute."""
    admin(fleet.redis).hset("otpreport:account:tencent", "probe_at_ms", 0)


def reloads(worker: WorkerProcess) -> float:
    """Return how often the worker took new keys."""
    return worker.metric("otpreport_credentials_reloads_total", result="changed")


def test_rotation_under_load(tmp_path: Path) -> None:
    """From one key to the next, both valid meanwhile: no report is refused, lost or sent twice, nor a limiter added."""
    account = replace(TENCENT, rate=RATE)
    with Fleet(tmp_path, account, keys=[NEXT_KEY], settings=LONG) as fleet:
        files = KeyFiles(tmp_path)
        worker = fleet.start_worker(environment=files.variables)
        with fleet.producing(100):
            fleet.wait_until_arrived(50)
            files.write(NEXT, NEXT_SECRET)
            until(lambda: len(rows_of(fleet, NEXT)) >= 50)
            newcomer = fleet.start_worker(environment=files.variables)
            until(lambda: newcomer.metric("otpreport_attempts_total") >= 20)
        fleet.wait_until_settled()
        rows = fleet.simulator.ledger()
        assert {(row["code"], row["signature_ok"]) for row in rows} == {("ok", True)}
        assert Counter(row["message_id"] for row in rows) == Counter(event.message_id for event in fleet.sent)
        assert len(rows_of(fleet, TENCENT.key)) >= 50
        assert fleet.books()["tencent"].delivered == len(fleet.sent)
        assert len(admin(fleet.redis).keys("otpreport:rate:*")) == 1, "the new key got a limiter of its own"
        assert reloads(worker) == 1
        (line,) = worker.lines("credentials changed")
        assert (line["account"], line["key_id"]) == ("tencent", "AKID...0002")
        assert newcomer.lines("rate group kept")
        for secret in (SECRET, NEXT_SECRET):
            for each in (worker, newcomer):
                assert secret not in each.text + each.output + each.get("/metrics")[1]


@pytest.mark.chaos
def test_wrong_keys_then_right_ones(tmp_path: Path) -> None:
    """A wrong secret stops the account; as soon as the right one stands in the file, its next probe succeeds."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        files = KeyFiles(tmp_path)
        files.write(TENCENT.key, "mistyped")
        worker = fleet.start_worker(environment=files.variables)
        fleet.enqueue(60)
        until(lambda: state(fleet) == "stopped")
        files.write(TENCENT.key, SECRET)
        until(lambda: reloads(worker) == 1)
        assert fleet.delivered() == 0
        probe_now(fleet)
        fleet.wait_until_settled()
        books = fleet.books()["tencent"]
        assert (books.delivered, books.dead) == (60, 0)


@pytest.mark.chaos
def test_a_worker_that_never_looks(tmp_path: Path) -> None:
    """The control: without a look at the files the probe is refused again, and the account stays stopped."""
    with Fleet(tmp_path, TENCENT, settings=LONG) as fleet:
        files = KeyFiles(tmp_path)
        files.write(TENCENT.key, "mistyped")
        fleet.start_worker(odd("keeps-its-keys"), environment=files.variables)
        fleet.enqueue(60)
        until(lambda: state(fleet) == "stopped")
        files.write(TENCENT.key, SECRET)
        probe_now(fleet)
        fleet.wait_until_arrived(fleet.arrivals() + 1)
        assert (fleet.delivered(), state(fleet)) == (0, "stopped")


def test_accounts_of_one_provider(tmp_path: Path) -> None:
    """Accounts with one key share its limit, those with another have one of their own, unless a group unites them."""
    rate = 50
    own = {"secret_id": NEXT}
    shared = [{"secret_id": f"AKIDSHARED{number}", "rate_group": "main-account"} for number in (1, 2)]
    one, two = (Account(name, "tencent", rate) for name in ("one", "two"))
    three = Account("three", "tencent", rate, own)
    four, five = (
        Account(name, "tencent", rate, table) for name, table in zip(("four", "five"), shared, strict=True)
    )
    wrong = Account("wrong", "tencent", rate, {"secret_id": "AKIDWRONG", "secret_key": "mistyped"})
    with Fleet(tmp_path, one, two, three, four, five, wrong, settings=LONG) as fleet:
        fleet.start_worker()
        for account in fleet.accounts:
            fleet.enqueue(50, account)
        rest = fleet.accounts.keys() - {"wrong"}
        until(lambda: all(fleet.books()[name].settled for name in rest))
        books = fleet.books()
        assert {name: books[name].delivered for name in rest} == dict.fromkeys(rest, 50)
        assert (books["wrong"].delivered, books["wrong"].dead) == (0, 0)
        limited = [(one.key,), (three.key,), (four.key, five.key)]
        times = {keys: sorted(row["t"] for key in keys for row in rows_of(fleet, key)) for keys in limited}
        for keys, arrivals in times.items():
            assert (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) <= rate, keys
        assert times[three.key,][-1] < min(times[one.key,][-1], times[four.key, five.key][-1])
        assert len(admin(fleet.redis).keys("otpreport:rate:*")) == 4
