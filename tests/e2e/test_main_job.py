"""The main job: from the queue to the provider's OK, with everything that happens on an ordinary bad day."""

import math
import urllib.parse
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otpreport import Reporter, Verification
from tests.support.admin import admin
from tests.support.fleet import ALIBABA, ALIBABA_CN, LONG, SECRET, TENCENT, Account, Fleet
from tests.support.worker_process import CELERY, RUN, WorkerProcess

PASSWORD = "the-password-of-redis"

# account -> the code of each kind of trouble, as its provider would say it
CODES = {
    "tencent": {
        "permanent": "InvalidParameterValue",
        "throttled": "RequestLimitExceeded",
        "transient": "ServiceUnavailable",
        "doubtful": "FailedOperation",
    },
    "alibaba": {
        "permanent": "INVALID_PARAMETERS",
        "throttled": "Throttling.User",
        "transient": "ServiceUnavailable",
        "doubtful": "DATA_NOT_EXIST",
    },
    "alibaba_cn": {
        "permanent": "INVALID_PARAMETERS",
        "throttled": "Throttling.User",
        "transient": "ServiceUnavailable",
        "doubtful": "DATA_NOT_EXIST",
    },
}
ONCE = ("throttled", "transient")
TROUBLED = 10
"""Events of each account for each kind of trouble."""

PLAIN = {"tencent": 450, "alibaba": 300, "alibaba_cn": 150}
COPIES = 40
MAX_ATTEMPTS = 4


def plan() -> dict[str, object]:
    """Return a plan in which an event's id says what befalls it."""
    coded = [
        {"kind": "code", "provider": account, "message_id": f"{trouble}-*", "code": code}
        | ({"arrivals": 1} if trouble in ONCE else {})
        for account, codes in CODES.items()
        for trouble, code in codes.items()
    ]
    return {
        "latency": {"base_ms": 10, "jitter_ms": 20},
        "faults": [
            *coded,
            {"kind": "lost", "message_id": "lost-*", "arrivals": 1},
            {"kind": "unavailable", "message_id": "exhausted-*"},
        ],
    }


def send_everything(fleet: Fleet) -> None:
    """Enqueue some 1500 events, through the client and as a stranger would."""
    old = datetime.now(UTC) - timedelta(hours=25)
    with Reporter(fleet.valkey.url, spool=False, timeout=10.0) as reporter:
        for account, count in PLAIN.items():
            plain = fleet.events(count, account)
            assert reporter.report_many(plain).queued == count
            fleet.sent += plain
            fleet.push(plain[:COPIES])
            fleet.enqueue(COPIES, account, prefix="false-", verified=False)
            for trouble in (*CODES[account], "lost", "exhausted"):
                fleet.enqueue(TROUBLED, account, prefix=f"{trouble}-")
            fleet.push([event.model_copy(update={"occurred_at": old}) for event in fleet.events(5, account)])


def expected(account: Account) -> dict[str, int]:
    """Return the books that `send_everything` leaves."""
    skipped = COPIES if account.provider == "tencent" else 0
    # throttled, transient and lost ones come through
    delivered = PLAIN[account.name] + COPIES - skipped + 3 * TROUBLED
    dead = 3 * TROUBLED + 5  # permanent, doubtful, exhausted; expired
    return {"delivered": delivered, "duplicate": COPIES, "skipped": skipped, "dead": dead, "shed": 0}


def secrets_in(text: str) -> list[str]:
    """Return the secrets that stand in a text, whole or in part, also as a URL would have them."""
    forms = {SECRET, PASSWORD, urllib.parse.quote(SECRET, safe=""), SECRET[:12], SECRET[-12:]}
    return [form for form in forms if form in text]


def all_of_redis(fleet: Fleet) -> str:
    """Return every key and value (DUMP would compress them)."""
    client = admin(fleet.redis)
    read = {b"hash": "HGETALL", b"list": "LRANGE", b"set": "SMEMBERS", b"zset": "ZRANGE"}
    told: list[str] = []
    for key in client.keys("*"):
        kind = client.type(key)
        span = (0, -1) if kind in {b"list", b"zset"} else ()
        told.append(f"{key!r} {client.execute_command(read[kind], key, *span)!r}")
    return " ".join(told)


@pytest.fixture
def accounts() -> list[Account]:
    """Return an account of each provider, with few attempts."""
    few = {"max_attempts": MAX_ATTEMPTS}
    return [Account(a.name, a.provider, a.rate, few) for a in (TENCENT, ALIBABA, ALIBABA_CN)]


@pytest.mark.parametrize(
    ("command", "level", "engine"),
    [(CELERY, "info", "builtin"), (RUN, "debug", "builtin"), (RUN, "info", "httpx")],
)
def test_all_accounted_for(
    tmp_path: Path, accounts: list[Account], command: tuple[str, ...], level: str, engine: str
) -> None:
    """Books, metrics, log and the provider's ledger tell the same story, and none of them a secret."""
    settings = {**LONG, "log_level": level, "http_engine": engine, "retry_base": 0.1, "retry_cap": 0.3}
    with Fleet(tmp_path, *accounts, plan=plan(), settings=settings) as fleet:
        admin(fleet.redis).execute_command("ACL", "SETUSER", "worker", "on", f">{PASSWORD}", "~*", "+@all")
        fleet.configure(redis_url=f"redis://worker:{PASSWORD}@127.0.0.1:{fleet.valkey.port}/0")
        worker = fleet.start_worker(command)
        send_everything(fleet)
        fleet.wait_until_settled()
        check_books(fleet)
        check_ledger(fleet)
        check_metrics(fleet, worker)
        metrics = worker.get("/metrics")[1]
        worker.terminate()
        assert worker.wait() == 0
        check_log(fleet, worker)
        for place in (worker.text, worker.output, metrics, all_of_redis(fleet)):
            assert not secrets_in(place)
        assert "message_id" in all_of_redis(fleet), "the dump would show a secret"


def check_books(fleet: Fleet) -> None:
    """Every event ended as its kind ends."""
    audit = fleet.check()
    for name, books in audit.books.items():
        ends = {place: getattr(books, place) for place in expected(fleet.accounts[name])}
        assert ends == expected(fleet.accounts[name]), name
        reasons = Counter(story["reason"] for story, _ in fleet.dead_letters(name))
        assert reasons == {"permanent": 2 * TROUBLED, "exhausted": TROUBLED, "expired": 5}, name
    assert audit.twice == {
        event.message_id: 1 for event in fleet.sent if event.message_id.startswith("lost-")
    }


def check_ledger(fleet: Fleet) -> None:
    """Each kind of event reached the provider as often as its kind is tried."""
    arrivals = Counter(row["message_id"] for row in fleet.simulator.ledger())
    times = {
        "permanent": 1, "throttled": 2, "transient": 2, "doubtful": 3, "lost": 2, "exhausted": MAX_ATTEMPTS
    }  # fmt: skip
    for event in fleet.sent:
        kind = event.message_id.partition("-")[0]
        if kind in times:
            assert arrivals[event.message_id] == times[kind], event.message_id


def check_metrics(fleet: Fleet, worker: WorkerProcess) -> None:
    """Check that the worker counted what the books and the provider counted."""
    for account in fleet.accounts.values():
        counted = {
            outcome: worker.metric("otpreport_events_total", account=account.name, outcome=outcome)
            for outcome in expected(account)
        }
        assert counted == expected(account)
        arrivals = fleet.simulator.key(account.provider)["arrivals"]
        assert worker.metric("otpreport_attempts_total", account=account.name) == arrivals
        ages = worker.metric("otpreport_event_age_seconds_count", account=account.name)
        assert ages == expected(account)["delivered"]
    assert worker.metric("otpreport_internal_errors_total") == 0


def check_log(fleet: Fleet, worker: WorkerProcess) -> None:
    """Every failed attempt has its line, delivered ones are sampled, every dead letter is told of."""
    attempts = [line for line in worker.lines("attempt") if line["logger"] == "otpreport.worker"]
    rows = fleet.simulator.ledger()
    good = sum(row["code"] == "ok" for row in rows)
    logged = Counter(line["result"] == "delivered" for line in attempts)
    assert logged == {True: math.ceil(good * 0.01), False: len(rows) - good}
    line = next(line for line in attempts if line["result"] == "permanent")
    assert {
        "account",
        "provider",
        "message_id",
        "attempt",
        "code",
        "request_id",
        "duration_ms",
    } <= line.keys()
    dead = sum(books.dead for books in fleet.books().values())
    assert len(worker.lines("dead letter")) == dead


def test_true_after_false(tmp_path: Path) -> None:
    """A `true` may follow a delivered `false`, never the other way, and a second copy is not sent."""
    with Fleet(tmp_path, ALIBABA, settings=LONG) as fleet:
        fleet.start_worker()
        false = fleet.enqueue(20, "alibaba", verified=False)
        fleet.wait_until_settled()
        true = [event.model_copy(update={"verified": True}) for event in false]
        fleet.push(true)
        fleet.wait_until_settled()
        fleet.push([*false, *true])
        fleet.wait_until_settled()
        audit = fleet.check()
        assert (audit.books["alibaba"].delivered, audit.books["alibaba"].duplicate) == (40, 40)
        assert not audit.twice
        assert fleet.simulator.summary()["false_after_true"] == 0


def test_key_prefix(tmp_path: Path) -> None:
    """With a key prefix everything of ours carries it, and the job is done as without."""
    with Fleet(tmp_path, TENCENT, ALIBABA, settings={**LONG, "key_prefix": "shop:"}) as fleet:
        fleet.start_worker()
        with Reporter(fleet.valkey.url, spool=False, timeout=10.0, key_prefix="shop:") as reporter:
            events: list[Verification] = fleet.events(50, "alibaba")
            assert reporter.report_many(events).queued == 50
            fleet.sent += events
        fleet.enqueue(100)
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 100
        strangers = [key for key in admin(fleet.redis).keys("*") if not key.startswith(b"shop:")]
        assert not strangers
