"""Record operators' changes in the audit; an audit key of the wrong type does not prevent the change."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator
from dataclasses import dataclass

from redis.exceptions import RedisError, ResponseError

from config.logging import configure, log_event
from tasks.fleet.audit import Audit
from worker.cli.errors import CommandError
from worker.cli.session import Session, refusal
from worker.fleet.wording import number

logger = logging.getLogger("otpreport.audit")


def write_down(opened: Session, action: str, *, by: str, **details: object) -> str | None:
    """Add to the audit and return the entry's id; where its key is of a wrong type, log the entry and return None."""
    try:
        return Audit(opened.client, opened.keys).record(action, by=by, **details)
    except ResponseError as error:
        reason = str(error)
        if not reason.startswith("WRONGTYPE"):
            raise
    configure(opened.settings.log_level, opened.settings.log_format)
    given = {name: value for name, value in details.items() if value is not None}
    log_event(logger, logging.ERROR, "audit write failed", reason=reason, action=action, by=by, details=given)
    return None


@dataclass(slots=True)
class SoFar:
    """How far a change of many got, and how it ended."""

    moved: int = 0
    result: str = "interrupted"


@contextlib.contextmanager
def audited(
    opened: Session, action: str, done: str, so_far: SoFar, *, of: int, by: str, **details: object
) -> Generator[None]:
    """Audit the start and the end of a change of many; a start without an end was killed.

    The same command continues with the rest, as the operator is told when Redis fails meanwhile. `done`: `purged`.
    """
    began = write_down(opened, action, by=by, **details)
    try:
        yield
        so_far.result = "done"
    except RedisError as error:
        so_far.result = "redis failed"
        stop = refusal(opened.settings, error)
        fix = f"{done} so far: {number(so_far.moved)}; run the same command again for the rest"
        raise CommandError(stop.status, *stop.lines, fix) from error
    finally:
        facts = {done: so_far.moved, "of": of, "result": so_far.result}
        with contextlib.suppress(RedisError):
            write_down(opened, f"{action}-end", by=by, began=began, **facts)
