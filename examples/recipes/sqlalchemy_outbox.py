"""Keep events in a table of the app's own database, and report them from there: SQLAlchemy.

An event is committed together with the login that it tells of, or not at all. `run` goes in a process of its own. It
may report an event twice, when it dies in between; the provider hears of it once.
"""

import time
from typing import Any

from sqlalchemy import JSON, delete, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from otpreport import Reporter, Verification

BATCH = 200


class Base(DeclarativeBase):
    pass


class OutgoingEvent(Base):
    __tablename__ = "outgoing_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[dict[str, Any]] = mapped_column(JSON)


def add(session: Session, event: Verification) -> None:
    """Keep an event, in the session's transaction."""
    session.add(OutgoingEvent(event=event.to_wire()))


def run(sessions: sessionmaker[Session], reporter: Reporter, pause: float = 1.0) -> None:
    """Report for ever; the reporter is one with `spool=False`, since the table is its spool, and without `accounts`."""
    while True:
        if forward(sessions, reporter) < BATCH:
            time.sleep(pause)


def forward(sessions: sessionmaker[Session], reporter: Reporter) -> int:
    """Report the oldest events and delete those that reached Redis; return how many."""
    with sessions.begin() as session:
        rows = select(OutgoingEvent).order_by(OutgoingEvent.id).limit(BATCH)
        # several processes can share the work; a database that has no such locks, as SQLite, is asked without
        locked = session.scalars(rows.with_for_update(skip_locked=True))
        kept = {row.id: Verification.from_wire(row.event) for row in locked}
        dropped = set(reporter.report_many(kept.values()).dropped_events)
        done = [key for key, event in kept.items() if event not in dropped]
        session.execute(delete(OutgoingEvent).where(OutgoingEvent.id.in_(done)))
    return len(done)
