"""Report what a transaction of Django commits, and nothing that it rolls back.

When the process dies between the commit and the report, the report is lost. django_outbox.py loses none.
"""

from functools import partial

from django.db import transaction

from otpreport import Reporter, Verification


def report_on_commit(reporter: Reporter, event: Verification) -> None:
    """Report an event once the transaction around this is committed; at once where there is none."""
    transaction.on_commit(partial(reporter.report, event), robust=True)
