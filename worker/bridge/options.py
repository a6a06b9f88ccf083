"""Options of Celery's command line that this worker does not support: each is refused before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import cast

from config.faults import nearest
from worker.bridge.pool import AsyncioPool


def faults(
    options: Mapping[str, object], queues: Collection[str], settings: Sequence[str] = ()
) -> Iterator[str]:
    """Yield a line for each option of Celery's worker that can't be had.

    `queues` are those of the accounts, `settings` what was given as `-- name=value`.
    """
    pool = options.get("pool")
    if isinstance(pool, type) and not issubclass(pool, AsyncioPool):
        yield "-P: otpreport runs on its own pool, with OTPREPORT_CONCURRENCY requests at once: start without -P"
    if options.get("autoscale"):
        yield "--autoscale: this worker has nothing to scale: start more of them"
    if options.get("purge"):
        yield "--purge: events that wait are not thrown away: they were verified"
    if options.get("beat"):
        yield "-B: otpreport has nothing to schedule: start the worker without it, and beat with your own app"
    for setting in settings:
        yield f"{setting.partition('=')[0]}: settings of Celery's can't be changed here: use OTPREPORT_..."
    yield from _unknown_queues(options.get("queues"), queues)


def _unknown_queues(asked: object, queues: Collection[str]) -> Iterator[str]:
    for name in _names(asked):
        if name not in queues:
            near = nearest(name, queues) or ", ".join(sorted(queues))
            yield f"-Q {name}: no account has this queue: did you mean {near}?"


def _names(asked: object) -> list[str]:
    """Return the queues of `-Q`, as Celery's command line or a program gives them."""
    if isinstance(asked, str):
        return asked.split(",")
    return list(cast("Sequence[str]", asked)) if isinstance(asked, list | tuple) else []
