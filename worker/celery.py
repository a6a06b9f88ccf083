"""The Celery application; `celery -A otpreport.worker worker` finds it here."""

from __future__ import annotations

import logging
import os
import signal
import sys
from functools import partial
from typing import Any, NoReturn, TextIO

from celery.signals import celeryd_init, setup_logging, worker_shutdown
from celery.utils.log import mlevel
from celery.utils.nodenames import node_format
from kombu import Queue

from config.faults import SettingsError
from config.logging import configure, log_event
from config.output import drain, into_file, take_over
from config.settings import Settings, load
from config.watch import Watch
from otpreport.place import place
from otpreport.wire import TASK, queue_name
from worker.bridge import options as refusals
from worker.bridge.app import BROKER, App
from worker.bridge.command_line import CommandLine
from worker.bridge.handover import Bridge
from worker.collector import look_seldom
from worker.runtime import Runtime

logger = logging.getLogger("otpreport.worker")


def build(settings: Settings) -> App:
    """Return the application for these settings; nothing connects before a worker starts."""
    app = App()
    app.conf.update(
        broker_url=BROKER,
        broker_transport_options={
            "bridge": Bridge(),
            "redis": place(settings.redis_url.get_secret_value()),
        },
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
        stop(*error.faults)


def stop(*faults: object) -> NoReturn:
    """Print a line for each fault and exit with status 2."""
    for fault in faults:
        print(fault, file=sys.stderr)
    sys.exit(2)


@celeryd_init.connect
def _log_as_asked(sender: str, options: dict[str, Any], **_: Any) -> None:
    """Write to the file of `-f` and from the level of `-l`; first of all, so that the file has a refusal too."""
    line = CommandLine()
    path, level = options.get("logfile"), options.get("loglevel") if line.gave("loglevel") else None
    if path:
        try:
            into_file(node_format(path, sender))
        except OSError as error:
            stop(f"-f {path}: can't write this file: {error.strerror}")
    if path or level is not None:
        configure(
            logging.getLevelName(mlevel(level)) if level is not None else settings.log_level,
            settings.log_format,
        )


@celeryd_init.connect
def _refuse(options: dict[str, object], **_: Any) -> None:
    """End a start that asks for what this worker can't do, with a line for each fault and status 2."""
    queues = [queue_name(account) for account in settings.accounts]
    if faults := list(refusals.faults(options, queues, CommandLine().settings())):
        stop(*faults)


@celeryd_init.connect
def _say_what_is_ignored(**_: Any) -> None:
    if names := CommandLine().ignored(os.environ):
        log_event(
            logger, logging.WARNING, "celery settings ignored", ignored=names, fix="set OTPREPORT_... instead"
        )


@celeryd_init.connect
def _adapt_signals(**_: Any) -> None:
    """Have Celery write as all else does in a signal's handler, where it may wait for the file; end Ctrl-C with 0."""
    from celery.apps import worker  # noqa: PLC0415 - it is there by now, and takes long to be imported

    program: Any = worker  # its types name neither
    program.safe_say = _say
    program.install_worker_int_handler = partial(program.install_worker_int_handler, exitcode=0)


_SAYINGS = {
    "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!": (
        "Stopping when the requests in flight are answered; Ctrl-C again hands their events back at once."
    ),
    "worker: Warm shutdown (MainProcess)": "",  # the log has "worker stops"
    "worker: Cold shutdown (MainProcess)": "Stopping now; all events are handed back.",
}
"""What Celery says of a shutdown, and what is true of this worker: no event ends with it."""


def _say(text: str, stream: TextIO | None = None) -> None:
    if text := _SAYINGS.get(text, text):
        print(f"\n{text}", file=stream or sys.stderr)


@celeryd_init.connect
def _start_anew_as_it_was_started(**_: Any) -> None:
    """Have Celery start the whole command line after SIGHUP: `-m otpreport` or `-m celery` is not in argv."""
    sys.argv = sys.orig_argv[1:]


@worker_shutdown.connect
def _hear_no_ctrl_c(**_: Any) -> None:
    """All is handed back: a second Ctrl-C, which comes when a person is impatient, has nothing to hurry."""
    signal.signal(signal.SIGINT, _hear_nothing)  # SIG_IGN would outlive SIGHUP's exec


def _hear_nothing(*_: object) -> None:
    pass


@worker_shutdown.connect
def _write_the_rest(**_: Any) -> None:
    """Flush the log before SIGHUP replaces the process: no other hook is called then."""
    drain()


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Celery leaves logging alone when this signal has a receiver."""


take_over()
command_line = CommandLine()
if off := command_line.command_off():
    stop(off)
command_line.keep_variables_out()
look_seldom()
settings = load_or_exit()
configure(settings.log_level, settings.log_format)
# it would say "Connected" of a transport that has no connection; the engine tells of Redis
logging.getLogger("celery.worker.consumer.connection").setLevel(logging.WARNING)
app = build(settings)
