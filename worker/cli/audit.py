"""The audit of operators' changes: who, when, what."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from tasks.fleet.audit import Audit, AuditEntry
from worker.cli.errors import DONE
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.session import session
from worker.fleet.wording import iso, moment


def show_audit(*, count: int, as_json: bool) -> int:
    """Print the newest entries, newest first; `count` 0: all."""
    with session(keyless=True) as opened:
        entries = Audit(opened.client, opened.keys).read(count or None)
    if as_json:
        write_json({"audit": [_record(entry) for entry in entries]})
        return DONE
    console = screen()
    if not entries:
        console.print("no operator has changed anything yet")
        return DONE
    rows = table("at (UTC)", "by", "action", "details")
    for entry in entries:
        rows.add_row(
            moment(entry.at_ms), safe(entry.by), safe(entry.action), safe(_details_text(entry.details))
        )
    console.print(rows)
    return DONE


def _record(entry: AuditEntry) -> dict[str, object]:
    return {
        "id": entry.id,
        "at": iso(entry.at_ms),
        "at_ms": entry.at_ms,
        "by": entry.by,
        "action": entry.action,
        **{name: value for name, value in entry.details.items() if name not in {"id", "at", "by", "action"}},
    }


def _details_text(details: Mapping[str, object]) -> str:
    """Return the details in a line; which entry began it is for scripts."""
    return "  ".join(f"{name}={_word(value)}" for name, value in details.items() if name != "began")


def _word(value: object) -> str:
    """Return a value as it is typed; text with spaces in it, and all else, as JSON."""
    if isinstance(value, str) and value and " " not in value:
        return value
    return orjson.dumps(value).decode()
