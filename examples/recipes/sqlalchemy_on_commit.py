"""Report what a session of SQLAlchemy commits, and nothing that it rolls back.

When the process dies between the commit and the report, the report is lost. sqlalchemy_outbox.py loses none.
"""

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from otpreport import Reporter, Verification

WAITING = "events to report"


def report_on_commit(session: Session, reporter: Reporter, verification: Verification) -> None:
    """Report an event once the session's transaction is committed; at once where there is none.

    With an AsyncSession give its `sync_session`.
    """
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None:
        reporter.report(verification)
    else:
        session.info.setdefault(WAITING, []).append((transaction, reporter, verification))


@event.listens_for(Session, "after_commit")
def _report(session: Session) -> None:
    if session.in_nested_transaction():
        return  # a savepoint was released, and what is around it may still be rolled back
    committed = session.get_transaction()
    for transaction, reporter, verification in session.info.pop(WAITING, []):
        if _is_in(transaction, committed):  # and not in one that ended with its session, without a word
            reporter.report(verification)


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, rolled_back: SessionTransaction) -> None:
    waiting = session.info.get(WAITING, [])
    waiting[:] = [each for each in waiting if not _is_in(each[0], rolled_back)]


def _is_in(transaction: SessionTransaction | None, other: SessionTransaction | None) -> bool:
    while transaction is not None and transaction is not other:
        transaction = transaction.parent
    return transaction is not None
