"""Keep events in a table of the app's own database, and report them from there: Django.

An event is committed together with the login that it tells of, or not at all. `run` goes in a management command
of its own process. It may report an event twice, when it dies in between; the provider hears of it once.
"""

import time

from django.db import connection, models, transaction

from otpreport import Reporter, Verification

BATCH = 200


class OutgoingEvent(models.Model):
    event = models.JSONField()

    class Meta:
        app_label = "recipes"


def add(event: Verification) -> None:
    """Keep an event, in the transaction around this."""
    OutgoingEvent.objects.create(event=event.to_wire())


def run(reporter: Reporter, pause: float = 1.0) -> None:
    """Report for ever; the reporter is one with `spool=False`, since the table is its spool, and without `accounts`."""
    while True:
        if forward(reporter) < BATCH:
            time.sleep(pause)


def forward(reporter: Reporter) -> int:
    """Report the oldest events and delete those that reached Redis; return how many."""
    with transaction.atomic():
        rows = OutgoingEvent.objects.order_by("id")
        # so that several processes can share the work
        if connection.features.has_select_for_update_skip_locked:
            rows = rows.select_for_update(skip_locked=True)
        kept = {row.pk: Verification.from_wire(row.event) for row in rows[:BATCH]}
        dropped = set(reporter.report_many(kept.values()).dropped_events)
        done = [key for key, event in kept.items() if event not in dropped]
        OutgoingEvent.objects.filter(pk__in=done).delete()
    return len(done)
