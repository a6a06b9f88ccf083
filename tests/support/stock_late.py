"""The stock app set to lose as little as it can: late acknowledgement, and a task that takes as long as a report."""

import time

from celery.signals import worker_ready

from tests.support.stock_celery import app, report

app.conf.task_acks_late = True
app.conf.task_reject_on_worker_lost = True
app.conf.worker_prefetch_multiplier = 1
app.conf.worker_cancel_long_running_tasks_on_connection_loss = False
app.conf.broker_connection_max_retries = None


@worker_ready.connect
def tell(**_: object) -> None:
    """Say that the worker consumes."""
    print("stock worker is ready", flush=True)


_reported = report.run


def slowly(event: dict[str, object]) -> None:
    """Take the time of a call, then leave the event where the test finds it."""
    time.sleep(0.02)
    _reported(event)


report.run = slowly  # type: ignore[method-assign]  # the task's body stays the stock one's
