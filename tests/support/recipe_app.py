"""An app that logs in and reports as the recipes say: python -m tests.support.recipe_app STACK DATABASE URL NAME."""

# ruff: noqa: D102 - Stack says what the methods do

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, suppress
from datetime import UTC, datetime
from importlib import import_module
from threading import Thread
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from otpreport import Receipts, Reporter, Verification
from otpreport.event import Event

MANY = 300
"""One batch of the recipes and a half."""


class RollBackError(Exception):
    """Ends a transaction that shall not be committed."""


class Stack(Protocol):
    """What a scenario needs of a framework and the recipes for it."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return a transaction that is committed at its end, unless that is an exception."""
        ...

    def savepoint(self) -> AbstractContextManager[object]:
        """Return a savepoint in the transaction."""
        ...

    def abandon(self, work: Callable[[], None]) -> None:
        """Do work in a transaction that ends with neither a commit nor an exception."""
        ...

    def log_in(self, name: str) -> None:
        """Write the row of a login."""
        ...

    def report_on_commit(self, event: Verification) -> None:
        """Report as the recipe does."""
        ...

    def add(self, event: Verification) -> None:
        """Keep the event in the outbox."""
        ...

    def forward(self, reporter: Reporter) -> int:
        """Report from the outbox."""
        ...

    def die_after_commit(self) -> None:
        """Die as soon as the transaction is committed."""
        ...


def die(*_: object) -> NoReturn:
    """End the process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def django_database(database: str) -> dict[str, object]:
    """Return Django's settings for a database, a file or a URL of PostgreSQL."""
    where = urlsplit(database)
    if not where.scheme:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": database}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": where.path.strip("/"),
        "USER": where.username,
        "HOST": where.hostname,
        "PORT": where.port,
    }


class Django:
    """Django with the recipes for it."""

    def __init__(self, database: str, reporter: Reporter) -> None:
        import_module("django.conf").settings.configure(
            DATABASES={"default": django_database(database)},
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        )
        import_module("django").setup()
        self._reporter = reporter
        self._db: Any = import_module("django.db")
        self._recipe: Any = import_module("django_on_commit")
        self._outbox: Any = import_module("django_outbox")
        if not self._db.connection.introspection.table_names():
            with self._db.connection.schema_editor() as editor:
                editor.create_model(self._outbox.OutgoingEvent)
                editor.execute("CREATE TABLE login (name TEXT)")

    def transaction(self) -> AbstractContextManager[object]:
        atomic: AbstractContextManager[object] = self._db.transaction.atomic()
        return atomic

    def savepoint(self) -> AbstractContextManager[object]:
        return self.transaction()

    def abandon(self, work: Callable[[], None]) -> None:
        with self.transaction():
            work()
            self._db.transaction.set_rollback(True)

    def log_in(self, name: str) -> None:
        with self._db.connection.cursor() as cursor:
            cursor.execute("INSERT INTO login VALUES (%s)", [name])

    def report_on_commit(self, event: Verification) -> None:
        self._recipe.report_on_commit(self._reporter, event)

    def add(self, event: Verification) -> None:
        self._outbox.add(event)

    def forward(self, reporter: Reporter) -> int:
        return int(self._outbox.forward(reporter))

    def die_after_commit(self) -> None:
        self._db.transaction.on_commit(die)


class SqlAlchemy:
    """SQLAlchemy with the recipes for it."""

    def __init__(self, database: str, reporter: Reporter) -> None:
        self._alchemy: Any = import_module("sqlalchemy")
        self._orm: Any = import_module("sqlalchemy.orm")
        self._recipe: Any = import_module("sqlalchemy_on_commit")
        self._outbox: Any = import_module("sqlalchemy_outbox")
        self._reporter = reporter
        plain = "://" not in database
        engine = self._alchemy.create_engine(
            f"sqlite:///{database}" if plain else database.replace("://", "+psycopg://")
        )
        self._outbox.Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(self._alchemy.text("CREATE TABLE IF NOT EXISTS login (name TEXT)"))
        self._sessions = self._orm.sessionmaker(engine)
        self.session: Any = self._sessions()

    def transaction(self) -> AbstractContextManager[object]:
        begun: AbstractContextManager[object] = self.session.begin()
        return begun

    def savepoint(self) -> AbstractContextManager[object]:
        nested: AbstractContextManager[object] = self.session.begin_nested()
        return nested

    def abandon(self, work: Callable[[], None]) -> None:
        self.session.begin()
        work()
        self.session.close()

    def log_in(self, name: str) -> None:
        self.session.execute(self._alchemy.text("INSERT INTO login VALUES (:name)"), {"name": name})

    def report_on_commit(self, event: Verification) -> None:
        self._recipe.report_on_commit(self.session, self._reporter, event)

    def add(self, event: Verification) -> None:
        self._outbox.add(self.session, event)

    def forward(self, reporter: Reporter) -> int:
        return int(self._outbox.forward(self._sessions, reporter))

    def die_after_commit(self) -> None:
        self._alchemy.event.listen(self._orm.Session, "after_commit", die, insert=True)


class DyingReporter(Reporter):
    """A reporter whose process dies when the events are in Redis."""

    def report_many(self, events: Iterable[Event]) -> Receipts:
        super().report_many(events)
        die()


class SharedReporter(Reporter):
    """A reporter beside which another process reports from the same outbox."""

    beside: Callable[[], None]

    def report_many(self, events: Iterable[Event]) -> Receipts:
        kept = [*events]
        other = Thread(target=self.beside, daemon=True)
        other.start()
        other.join(timeout=20)
        if other.is_alive():
            sys.exit("the other one waits for this one")
        return super().report_many(kept)


class App:
    """The scenarios; each event has the name of its login."""

    def __init__(self, stack: Stack, url: str) -> None:
        self._stack = stack
        self._url = url

    def _log_in(self, name: str, then: Callable[[Verification], None] | None = None) -> None:
        self._stack.log_in(name)
        event = Verification(account="tencent", message_id=name, occurred_at=datetime.now(UTC))
        (then or self._stack.report_on_commit)(event)

    def commit(self) -> None:
        """Commit, twice in one session."""
        for name in ("first", "second"):
            with self._stack.transaction():
                self._log_in(name)

    def rollback(self) -> None:
        """Roll back, and then commit something else."""
        with suppress(RollBackError), self._stack.transaction():
            self._log_in("rolled back")
            raise RollBackError
        with self._stack.transaction():
            self._log_in("first")

    def savepoints(self) -> None:
        """Release one savepoint and roll back another, in a transaction that is committed."""
        with self._stack.transaction():
            self._log_in("first")
            with self._stack.savepoint():
                self._log_in("second")
            with suppress(RollBackError), self._stack.savepoint():
                with self._stack.savepoint():
                    self._log_in("rolled back, in a savepoint that was released")
                self._log_in("rolled back")
                raise RollBackError

    def released(self) -> None:
        """Release a savepoint in a transaction that is rolled back."""
        with suppress(RollBackError), self._stack.transaction():
            self._log_in("rolled back")
            with self._stack.savepoint():
                self._log_in("rolled back")
            raise RollBackError

    def abandoned(self) -> None:
        """Leave a transaction alone, and commit another."""
        self._stack.abandon(lambda: self._log_in("rolled back"))
        with self._stack.transaction():
            self._log_in("first")

    def killed(self) -> None:
        """Die between the commit and the report."""
        with self._stack.transaction():
            self._stack.die_after_commit()
            self._log_in("first")

    def keep(self) -> None:
        """Keep what is committed in the outbox, and not what is rolled back."""
        with self._stack.transaction():
            self._log_in("first", self._stack.add)
        with suppress(RollBackError), self._stack.transaction():
            self._log_in("rolled back", self._stack.add)
            raise RollBackError

    def keep_and_die(self) -> None:
        """Die after the commit, with the event in the outbox."""
        with self._stack.transaction():
            self._stack.die_after_commit()
            self._log_in("first", self._stack.add)

    def forward(self) -> None:
        """Report from the outbox."""
        with Reporter(self._url, spool=False, timeout=5.0) as reporter:
            print(self._stack.forward(reporter))

    def keep_many(self) -> None:
        """Keep one batch and a half."""
        with self._stack.transaction():
            for number in range(MANY):
                self._log_in(str(number), self._stack.add)

    def forward_beside(self) -> None:
        """Report from the outbox while another one does, who begins later and ends earlier."""
        with (
            Reporter(self._url, spool=False, timeout=5.0) as other,
            SharedReporter(self._url, spool=False, timeout=5.0) as reporter,
        ):
            reporter.beside = lambda: print(self._stack.forward(other))
            print(self._stack.forward(reporter))

    def forward_and_die(self) -> None:
        """Die while the outbox is reported, when Redis has the events."""
        with DyingReporter(self._url, spool=False, timeout=5.0) as reporter:
            self._stack.forward(reporter)

    def forward_in_vain(self) -> None:
        """Report from the outbox while nobody listens."""
        with Reporter("redis://127.0.0.1:1", spool=False, timeout=0.2) as reporter:
            print(self._stack.forward(reporter))


STACKS: dict[str, Callable[[str, Reporter], Stack]] = {"django": Django, "sqlalchemy": SqlAlchemy}

if __name__ == "__main__":
    _, chosen, where, redis_url, scenario = sys.argv
    with Reporter(redis_url, spool=False, timeout=5.0) as direct:
        getattr(App(STACKS[chosen](where, direct), redis_url), scenario)()
