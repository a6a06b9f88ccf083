"""Purge events of an account that wait for a retry or their eta."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from tasks.keyspace import redis_time_us
from tasks.queue.scheduled import ScheduledEvents, Wanted
from tasks.queue.unserved import UnservedQueue
from worker.cli.errors import WRONG, CommandError
from worker.cli.moves import check_json, show_batches
from worker.cli.purging import ask_to_drop, say_purged
from worker.cli.run import no_such_account
from worker.cli.screen import safe, screen, table
from worker.cli.selection import read_when
from worker.cli.session import Session, session
from worker.cli.who import read_reason, who
from worker.cli.written import SoFar, audited
from worker.fleet.wording import iso, number, plain


def purge_scheduled(
    name: str,
    codes: Collection[str],
    since: str,
    until: str,
    eta: bool | None,
    *,
    reason: str,
    by: str,
    every: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Count what the filter finds, ask, and purge it page by page; audited at start and end."""
    person, why = who(by), read_reason(reason)
    check_json(as_json=as_json, yes=yes)
    with session() as opened:
        _check_account(opened, name)
        now_ms = redis_time_us(opened.client) // 1000
        wanted = Wanted(
            frozenset(codes),
            read_when("--since", since, now_ms),
            read_when("--until", until, now_ms),
            eta,
        )
        if every == (wanted != Wanted()):
            raise CommandError(WRONG, "select the events: a filter such as --code or --until, or --all")
        schedule = ScheduledEvents(opened.client, opened.keys, name)
        found = Counter(("eta" if one.eta else "retry", one.code) for one in schedule.events(wanted))
        total = found.total()
        if not as_json:
            _show(found)
        if total and not yes:
            ask_to_drop(total, name)
        purged = _carry_out(opened, schedule, wanted, name, total, reason=why, by=person) if total else 0
    return say_purged(name, total, purged, as_json=as_json)


def _check_account(opened: Session, name: str) -> None:
    accounts = opened.settings.accounts
    if name in accounts or opened.client.exists(opened.keys.scheduled(name)):
        return
    if UnservedQueue(opened.client, opened.keys, name).lengths():
        raise CommandError(WRONG, f"{plain(name)} is in no settings here: --unserved drops its queue")
    raise CommandError(WRONG, no_such_account(plain(name), accounts))


def _show(found: Counter[tuple[str, str]]) -> None:
    if not found:
        screen().print("nothing to purge")
        return
    rows = table("waits for", "last code", "events", right=("events",))
    for (kind, code), events in sorted(found.items()):
        rows.add_row(kind, safe(code or "-"), number(events))
    screen().print(rows)


def _carry_out(
    opened: Session, schedule: ScheduledEvents, wanted: Wanted, name: str, total: int, *, reason: str, by: str
) -> int:
    """Purge the events and return how many."""
    words: dict[str, object] = {
        "codes": sorted(wanted.codes),
        "since": iso(wanted.since_ms),
        "until": iso(wanted.until_ms),
        "eta": wanted.eta,
    }
    chosen = {word: value for word, value in words.items() if value not in (None, [])}
    details = {"account": name, "events": total, "reason": reason or None, "filter": chosen}
    so_far = SoFar()
    with audited(opened, "purge-scheduled", "purged", so_far, of=total, by=by, **details):
        show_batches("purge", schedule.drop(schedule.events(wanted)), so_far, total)
    return so_far.moved
