"""Where the events of every account are, at a glance."""

from __future__ import annotations

import time

from redis.exceptions import RedisError
from rich.console import Group
from rich.live import Live
from rich.text import Text

from config.settings import Settings
from otpreport.address import place
from tasks.keyspace import Queues, find_queues
from tasks.snapshot import AccountSnapshot, Snapshot
from worker.cli.accounts import why_not_running
from worker.cli.screen import count, number, plain, safe, screen, span, table, write_json
from worker.cli.session import Session, refusal, session
from worker.cli.stop import DONE, WRONG, Stop
from worker.unserved import unserved

REFRESH = 1.0
"""Seconds between two looks of --watch."""

SWEEP = 30.0
"""Seconds between two searches for queues that nobody serves."""

NUMBERS = ("ready", "leased", "scheduled", "dead", "oldest")
COLOURS = {"running": "green", "stopped": "red"}


def status(*, watch: bool, as_json: bool) -> int:
    """Print the fleet once, or again and again until Ctrl-C."""
    if watch and as_json:
        raise Stop(WRONG, "--json prints once: leave out --watch")
    with session() as opened:
        if watch:
            _watch(opened)
            return DONE
        snapshot = opened.snapshots().read()
        queues = find_queues(opened.client, opened.keys)
    if as_json:
        write_json(_record(opened.settings, snapshot, queues))
    else:
        screen().print(_view(opened.settings, snapshot, queues))
    return DONE


def _watch(opened: Session) -> None:
    """Refresh until interrupted; a Redis that is away for a while is told, and looked for again."""
    reader, console = opened.snapshots(), screen()
    queues, searched = Queues({}, complete=True), -SWEEP
    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                try:
                    if time.monotonic() - searched >= SWEEP:
                        queues, searched = find_queues(opened.client, opened.keys), time.monotonic()
                    live.update(_view(opened.settings, reader.read(), queues), refresh=True)
                except RedisError as error:
                    live.update(Text(refusal(opened.settings, error).lines[0], style="red"), refresh=True)
                time.sleep(REFRESH)
        except KeyboardInterrupt:
            return


def _view(settings: Settings, snapshot: Snapshot, queues: Queues) -> Group:
    rows = table("account", "state", "rate/s", *NUMBERS, right=("rate/s", *NUMBERS))
    for account in snapshot.configured:
        rows.add_row(safe(account.name), _state(account), _rate(settings, account), *_counts(account))
    for account in snapshot.strangers:
        if account.waiting or account.leased or account.dead:
            rows.add_row(safe(account.name), Text("not configured", style="yellow"), "", *_counts(account))
    return Group(rows, Text(""), *_notes(settings, snapshot, queues))


def _state(account: AccountSnapshot) -> Text:
    return Text(plain(account.state.name), style=COLOURS.get(account.state.name, "yellow"))


def _rate(settings: Settings, account: AccountSnapshot) -> str:
    configured = settings.accounts[account.name].rate_limit
    effective = account.effective_rate(configured)
    return number(configured) if effective >= configured else f"{effective:,.0f} of {configured:,}"


def _counts(account: AccountSnapshot) -> tuple[str, ...]:
    counts = account.ready, account.leased, account.scheduled, account.dead
    return (*(number(count) for count in counts), span(account.oldest_age) if account.oldest_age else "-")


def _notes(settings: Settings, snapshot: Snapshot, queues: Queues) -> list[Text]:
    where = place(settings.redis_url.get_secret_value())
    style = "" if snapshot.workers else "yellow"
    notes = [Text(f"{count(snapshot.workers, 'worker')} alive, {where}", style=style)]
    notes += [
        safe(why_not_running(account), "red")
        for account in snapshot.configured
        if account.state.name != "running"
    ]
    notes += [
        Text(f"nobody serves {plain(name)}: {count(waiting, 'event')} wait", style="yellow")
        for name, waiting in unserved(snapshot, queues, settings.accounts).items()
    ]
    if snapshot.gap:
        text = f"{count(snapshot.gap, 'event')} taken that stand nowhere: see `status --json`"
        notes.append(Text(text, style="red"))
    return notes


def _record(settings: Settings, snapshot: Snapshot, queues: Queues) -> dict[str, object]:
    return {
        "redis": place(settings.redis_url.get_secret_value()),
        "workers": snapshot.workers,
        "books_gap": snapshot.gap,
        "unserved": unserved(snapshot, queues, settings.accounts),
        "accounts": [_account_record(settings, account) for account in snapshot.accounts],
    }


def _account_record(settings: Settings, account: AccountSnapshot) -> dict[str, object]:
    configured = settings.accounts[account.name].rate_limit if account.configured else None
    return {
        "account": account.name,
        "configured": account.configured,
        "state": account.state.name,
        "code": account.state.code,
        "message": account.state.message,
        "rate_configured": configured,
        "rate_effective": None if configured is None else round(account.effective_rate(configured), 3),
        "ready": account.ready,
        "leased": account.leased,
        "scheduled": account.scheduled,
        "dead": account.dead,
        "oldest_age_seconds": account.oldest_age,
        "books": account.places,
        "books_gap": account.gap,
    }
