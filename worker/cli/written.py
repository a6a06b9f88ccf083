"""Record operators' changes in the audit; an audit key of the wrong type does not prevent the change."""

from __future__ import annotations

import logging

from redis.exceptions import ResponseError

from config.logging import configure, log_event
from tasks.fleet.audit import Audit
from worker.cli.session import Session

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
