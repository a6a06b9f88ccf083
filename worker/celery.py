"""The Celery application; `celery -A worker worker` finds it here."""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Any, TextIO

from celery import Celery
from celery.signals import celeryd_init, setup_logging, worker_shutdown
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES

from config.faults import SettingsError
from config.logging import configure
from config.output import drain, take_over
from config.settings import Settings, load
from config.watch import Watch
from otpreport.wire import TASK, queue_name
from worker.bridge import options as refusals
from worker.bridge.handover import Bridge
from worker.runtime import Runtime

TRANSPORT_ALIASES["otpreport"] = "worker.bridge.transport:Transport"


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
        worker_pool="worker.bridge.pool:AsyncioPool",
        worker_concurrency=1,
        worker_prefetch_multiplier=0,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
    )
    app.otpreport_runtime = Runtime(settings, Watch(os.environ))
    app.task(name=TASK, Strategy="worker.bridge.pool:strategy")(_report)
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


@celeryd_init.connect
def _say_without_waiting(**_: Any) -> None:
    """Have Celery write as all else does when it speaks in a signal's handler: it may wait for the file there."""
    from celery.apps import worker as program  # noqa: PLC0415 - it is there by now, and takes long to be imported

    setattr(program, "safe_say", _say)  # noqa: B010 - its types don't name it


def _say(text: str, stream: TextIO | None = None) -> None:
    print(f"\n{text}", file=stream or sys.stderr)


@celeryd_init.connect
def _start_anew_as_it_was_started(**_: Any) -> None:
    """Have Celery start the whole command line after SIGHUP: `-m otpreport` or `-m celery` is not in argv."""
    sys.argv = sys.orig_argv[1:]


@worker_shutdown.connect
def _write_the_rest(**_: Any) -> None:
    """Write what waits before SIGHUP's new program takes this one's place: no other hook is called then."""
    drain()


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging alone when somebody answers this signal."""


take_over()
gc.set_threshold(20_000)  # as `python -m worker` does
settings = load_or_exit()
configure(settings.log_level, settings.log_format)
# it would say "Connected" of a transport that has no connection; the engine tells of Redis
logging.getLogger("celery.worker.consumer.connection").setLevel(logging.WARNING)
app = build(settings)
