"""The Celery application; `celery -A worker worker` finds it here."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from celery import Celery
from celery.signals import celeryd_init, setup_logging
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES

from config.faults import SettingsError
from config.logging import configure
from config.settings import Settings, load
from config.watch import Watch
from otpreport.wire import TASK, queue_name
from worker import refusals
from worker.bridge import Bridge
from worker.runtime import Runtime

TRANSPORT_ALIASES["otpreport"] = "worker.transport:Transport"


class App(Celery):
    """Celery with what its pool runs."""

    otpreport_runtime: Runtime


def build(settings: Settings) -> App:
    """Return the application for these settings; nothing connects before a worker starts."""
    app = App("otpreport", set_as_current=False)
    app.conf.update(
        broker_url="otpreport://localhost//",
        broker_transport_options={"bridge": Bridge()},
        broker_connection_retry_on_startup=True,
        task_queues=[Queue(queue_name(account)) for account in settings.accounts],
        task_create_missing_queues=False,
        task_ignore_result=True,
        worker_pool="worker.pool:AsyncioPool",
        worker_concurrency=1,
        worker_prefetch_multiplier=0,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    app.otpreport_runtime = Runtime(settings, Watch(os.environ))
    app.task(name=TASK, Strategy="worker.pool:strategy")(_report)
    return app


def _report(**_: Any) -> None:
    raise NotImplementedError("otpreport.report runs in the worker's own pool")


def load_or_exit() -> Settings:
    """Return the settings; with faults, print one line each and exit with status 2."""
    try:
        return load()
    except SettingsError as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        sys.exit(2)


@celeryd_init.connect
def _refuse(options: dict[str, object], **_: Any) -> None:
    """End a start that asks for what this worker can't do, with a line for each fault and status 2."""
    found = list(refusals.faults(options, [queue_name(account) for account in settings.accounts]))
    for fault in found:
        print(fault, file=sys.stderr)
    if found:
        sys.exit(2)


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging alone when somebody answers this signal."""


settings = load_or_exit()
configure(settings.log_level, settings.log_format)
# it would say "Connected" of a transport that has no connection; the engine tells of Redis
logging.getLogger("celery.worker.consumer.connection").setLevel(logging.WARNING)
app = build(settings)
