"""A fleet of real processes: Valkey, the simulator and workers, and the audit of what became of every event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, cast

import redis

from otpreport import Verification
from otpreport.wire import encode, queue_name
from tests.support.admin import OURS, admin
from tests.support.background import at_rate
from tests.support.books import Books, read_books
from tests.support.events import event_of
from tests.support.simulator import Json, SimulatorProcess
from tests.support.wait import until
from tests.support.worker_process import PYTHON, ROOT, RUN, WorkerProcess
from worker.embedded import EmbeddedValkey

SECRET = "EXAMPLE+s3cr3t/that+must/show+nowhere"
APP = "1400000001"
KEY_IDS = {
    "tencent": "AKIDEXAMPLEEXAMPLEEXAMPLEEXAMPLE0001",
    "alibaba": "LTAI5tEXAMPLEEXAMPLE0001",
    "alibaba_cn": "LTAI5tEXAMPLEEXAMPLE0002",
}

SHORT: Mapping[str, object] = {
    "retry_base": 0.2,
    "retry_cap": 1.0,
    "connect_timeout": 0.5,
    "read_timeout": 1.0,
    "lease": 2.0,
    "grace": 5.0,
    "log_format": "json",
    "metrics_port": 0,
}
"""Settings under which everything that takes time takes little."""

LONG: Mapping[str, object] = {**SHORT, "connect_timeout": 5.0, "read_timeout": 10.0, "lease": 30.0}
"""Settings under which no lease ends because the machine is busy."""

PROMISE = 1.5
"""A dead worker's events are back within so many lease times: 45 s with a lease of 30 s."""


@dataclass(frozen=True, slots=True)
class Account:
    """A configured account; `settings` are added to its table, and may name a key of its own."""

    name: str
    provider: str
    rate: int
    settings: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def key(self) -> str:
        """The id of its key at the provider."""
        name = "secret_id" if self.provider == "tencent" else "access_key_id"
        return str(self.settings.get(name, KEY_IDS[self.provider]))

    def table(self, endpoint: str) -> dict[str, object]:
        """Return its settings, as they stand in the file."""
        credentials = (
            {"secret_id": self.key, "secret_key": SECRET, "sdk_app_id": APP}
            if self.provider == "tencent"
            else {"access_key_id": self.key, "access_key_secret": SECRET}
        )
        own = {"provider": self.provider, "endpoint": endpoint, "rate_limit": self.rate}
        return {**own, **credentials, **self.settings}


TENCENT = Account("tencent", "tencent", 1000)
ALIBABA = Account("alibaba", "alibaba", 500)
ALIBABA_CN = Account("alibaba_cn", "alibaba_cn", 500)


@dataclass(frozen=True, slots=True)
class Audit:
    """What became of the events, by Redis' books, the dead letters and the provider's own ledger."""

    books: dict[str, Books]
    lost: list[str]
    """Events that the provider never took, and that are no dead letters."""
    strangers: list[str]
    """Reports that the provider took and nobody enqueued."""
    twice: Counter[str]
    """Reports that the provider took again: how many times more."""
    forged: int
    """Requests with a wrong signature."""

    @property
    def faults(self) -> list[str]:
        """Return what must never be, whatever was done to the fleet."""
        unbalanced = [f"{name}: {fault}" for name, books in self.books.items() for fault in books.faults()]
        kinds = {"lost": self.lost, "never enqueued": self.strangers}
        found = [f"{len(ids)} {kind}, e.g. {ids[:3]}" for kind, ids in kinds.items() if ids]
        return unbalanced + found + ([f"{self.forged} wrong signatures"] if self.forged else [])


class Fleet:
    """Start Valkey and the simulator; workers are started by the test. On a failure the logs are shown.

    `settings` are the workers', `options` Valkey's; `wrapper` is a command that runs each worker; `keys` are what the
    simulator knows beside the accounts' keys.
    """

    def __init__(
        self,
        folder: Path,
        *accounts: Account,
        plan: Mapping[str, object] | None = None,
        settings: Mapping[str, object] = SHORT,
        options: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        keys: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self.folder = folder
        self._wrapper = wrapper
        self.accounts = {account.name: account for account in accounts or (TENCENT,)}
        self.valkey = EmbeddedValkey(folder / "valkey", options={"appendfsync": "no"} | dict(options or {}))
        rates = {(account.provider, account.key): account.rate for account in self.accounts.values()}
        known = [_key(provider, id_, rate) for (provider, id_), rate in rates.items()]
        self.simulator = SimulatorProcess({"keys": [*known, *keys], "plan": dict(plan or {})})
        self.settings = dict(settings)
        self.workers: list[WorkerProcess] = []
        self.sent: list[Verification] = []
        self._named = 0
        self._prefix = str(self.settings.get("key_prefix", ""))

    def __enter__(self) -> Self:
        try:
            self.valkey.start()
            self.simulator.start()
            self.redis = redis.Redis(port=self.valkey.port, socket_timeout=30, client_name=OURS)
            self.configure()
        except BaseException:
            self.__exit__(None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._show()
        for worker in self.workers:
            worker.clean_up()
        if self.simulator.url:
            self.simulator.stop()
        self.valkey.stop()

    @property
    def config(self) -> Path:
        """The workers' settings."""
        return self.folder / "otpreport.toml"

    def configure(self, **settings: object) -> None:
        """Write the settings for workers that start from now on, with these changes."""
        self.settings |= settings
        self.settings.setdefault("redis_url", self.valkey.url)
        lines = [_line(name, value) for name, value in self.settings.items()]
        for account in self.accounts.values():
            table = account.table(self.simulator.url)
            lines += ["", f"[accounts.{account.name}]", *(_line(*entry) for entry in table.items())]
        self.config.write_text("\n".join(lines) + "\n")

    def launch(
        self,
        command: Sequence[str] = RUN,
        *,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        root: Path = ROOT,
        python: Path = PYTHON,
    ) -> WorkerProcess:
        """Start a worker in the folder `root`, by default of this checkout, and return at once."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        whole = (*self._wrapper, *wrapper)
        worker = WorkerProcess(
            log,
            self.config,
            command=command,
            wrapper=whole,
            environment=environment,
            root=root,
            python=python,
        )
        self.workers.append(worker)
        return worker

    def start_worker(
        self,
        command: Sequence[str] = RUN,
        *,
        wrapper: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> WorkerProcess:
        """Start a worker and wait until it has started."""
        return self.launch(command, wrapper=wrapper, environment=environment).wait_until_started()

    def start_workers(self, count: int) -> list[WorkerProcess]:
        """Start some workers at once and wait until they have started."""
        return [worker.wait_until_started() for worker in [self.launch() for _ in range(count)]]

    def events(
        self, count: int, account: str = "tencent", *, prefix: str = "", verified: bool = True
    ) -> list[Verification]:
        """Return new events with ids of their own."""
        now, first = datetime.now(UTC), self._named
        self._named += count
        ids = (f"{prefix}{account}-{number}" for number in range(first, first + count))
        return [Verification(account=account, message_id=i, occurred_at=now, verified=verified) for i in ids]

    def enqueue(
        self, count: int, account: str = "tencent", *, prefix: str = "", verified: bool = True
    ) -> list[Verification]:
        """Put new events on an account's queue, as a web app's client would write them."""
        events = self.events(count, account, prefix=prefix, verified=verified)
        self.push(events)
        return events

    def push(self, events: Iterable[Verification]) -> None:
        """Put events on their queues."""
        pipe = admin(self.redis).pipeline(transaction=False)
        for event in events:
            pipe.lpush(self._prefix + queue_name(event.account), encode(event, task_id=event.message_id))
            self.sent.append(event)
        pipe.execute()

    @contextmanager
    def producing(self, rate: int, account: str = "tencent", *, prefix: str = "") -> Generator[None]:
        """Enqueue so many events a second for as long as the context lasts, as busy login views do."""
        with at_rate(rate, lambda due: self.enqueue(due, account, prefix=prefix)):
            yield

    def push_raw(self, raw: bytes, account: str = "tencent") -> None:
        """Put any bytes on an account's queue."""
        self.redis.lpush(self._prefix + queue_name(account), raw)

    def books(self) -> dict[str, Books]:
        """Return where the events of each account are."""
        return read_books(self.redis, list(self.accounts), self._prefix)

    def delivered(self) -> int:
        """Return how many events count as delivered, of all accounts."""
        return sum(books.delivered for books in self.books().values())

    def arrivals(self) -> int:
        """Return how many requests have reached the provider."""
        return int(self.simulator.summary()["arrivals"])

    def wait_until_settled(self, deadline: float = 60.0) -> None:
        """Wait until every event has ended."""
        until(lambda: all(books.settled for books in self.books().values()), deadline=deadline, pause=0.05)

    def wait_until_delivered(self, count: int, deadline: float = 60.0) -> None:
        """Wait until so many events count as delivered."""
        until(lambda: self.delivered() >= count, deadline=deadline)

    def wait_until_arrived(self, count: int, deadline: float = 60.0) -> None:
        """Wait until so many requests have reached the provider."""
        until(lambda: self.arrivals() >= count, deadline=deadline)

    def dead_letters(self, account: str = "tencent") -> list[tuple[Json, bytes]]:
        """Return each dead letter's story and the message's bytes."""
        letters: dict[bytes, bytes] = admin(self.redis).hgetall(f"{self._prefix}otpreport:dead:{account}")
        split = (letter.split(b"\n", 1) for letter in letters.values())
        return [(cast("Json", json.loads(story)), raw) for story, raw in split]

    def audit(self) -> Audit:
        """Hold what was sent against the dead letters and the provider's ledger, report by report."""
        due = {self._report(event) for event in self.sent if not self._is_skipped(event)}
        rows = self.simulator.ledger()
        taken = Counter((row["key"], row["message_id"], row["verified"]) for row in rows if row["taken"])
        return Audit(
            books=self.books(),
            lost=sorted(id_ for _, id_, _ in due - taken.keys() - self._dead_reports()),
            strangers=sorted(id_ for _, id_, _ in taken.keys() - due),
            twice=Counter({id_: times - 1 for (_, id_, _), times in taken.items() if times > 1}),
            forged=sum(not row["signature_ok"] for row in rows),
        )

    def check(self) -> Audit:
        """Return the audit; AssertionError when anything is lost, invented or not balanced."""
        audit = self.audit()
        assert not audit.faults, audit.faults
        return audit

    def _report(self, event: Verification) -> tuple[str, str, bool]:
        return self.accounts[event.account].key, event.message_id, event.verified

    def _is_skipped(self, event: Verification) -> bool:
        return not event.verified and self.accounts[event.account].provider == "tencent"

    def _dead_reports(self) -> set[tuple[str, str, bool]]:
        letters = [letter for account in self.accounts for letter in self.dead_letters(account)]
        return {self._report(event_of(raw)) for story, raw in letters if story["reason"] != "invalid"}

    def _show(self) -> None:
        """Print what a person wants to see of a failure."""
        for worker in self.workers:
            tail = worker.text.splitlines()[-25:] + worker.output.splitlines()[-3:]
            print(f"--- {worker.log.name} (pid {worker.pid})", *(line[:400] for line in tail), sep="\n")
        try:
            print("--- books", self.books(), sep="\n")
            print("--- simulator", {**self.simulator.summary(), "twice_ids": ...}, sep="\n")
        except (redis.RedisError, OSError, AssertionError) as error:
            print("---", error)


def _key(provider: str, id_: str, rate: int) -> dict[str, object]:
    apps = {"apps": [APP]} if provider == "tencent" else {}
    return {"provider": provider, "id": id_, "secret": SECRET, "rate": rate, **apps}


def _line(name: str, value: Any) -> str:
    return f"{name} = {json.dumps(value)}"
