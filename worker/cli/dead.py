"""The commands for dead letters, with their options."""

# ruff: noqa: PLC0415 - a command's imports are its own

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from worker.cli.usage import MOST
from worker.cli.who import By

Ids: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="As shown by `list`.", show_default=False)
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
Accounts: TypeAlias = Annotated[
    list[str] | None, typer.Option("--account", metavar="NAME", help="Only this account (repeatable).")
]
Reasons: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--reason",
        metavar="WORD",
        help="Only exhausted, expired, invalid, permanent, poison or unreadable ones (repeatable).",
    ),
]
Codes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--code", metavar="CODE", help="Only this provider code; * and ? match (repeatable)."),
]
MessageIds: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--message-id", metavar="ID", help="Only the event with this message id (repeatable)."),
]
Since: TypeAlias = Annotated[
    str, typer.Option(metavar="WHEN", help="Died since: 2h, 30m, 7d (ago), or 2026-05-01T12:00 (UTC).")
]
Until: TypeAlias = Annotated[str, typer.Option(metavar="WHEN", help="Died until.")]
InDoubt: TypeAlias = Annotated[
    bool | None,
    typer.Option("--in-doubt/--no-in-doubt", help="Only letters the provider may (or can't) have taken."),
]
IncludeInDoubt: TypeAlias = Annotated[
    bool, typer.Option("--include-in-doubt", help="Also those the provider may have taken already.")
]
Share: TypeAlias = Annotated[
    str, typer.Option(metavar="SHARE", help="Most of the account's rate that the replay may use.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]

app = typer.Typer(
    help="Dead letters, the events that failed permanently: inspect, replay, correct, export, purge.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", epilog="Example: otpreport dead list --account tencent --since 2h --no-in-doubt")
def list_(
    *,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    message_id: MessageIds = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    limit: Annotated[int, typer.Option(min=0, max=MOST, help="Most letters to show; 0: all.")] = 50,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first."""
    from worker.cli.letters import list_letters
    from worker.cli.selection import Query

    query = Query(account, reason, code, since, until, in_doubt, message_ids=message_id)
    raise typer.Exit(list_letters(query, limit=limit, as_json=as_json))


@app.command(epilog="Example: otpreport dead show tencent:4f1d2a90c3be:17")
def show(id_: Annotated[str, typer.Argument(metavar="ID")], *, as_json: Json = False) -> None:
    """Show one dead letter in full."""
    from worker.cli.letters import show_letter

    raise typer.Exit(show_letter(id_, as_json=as_json))


@app.command(epilog="Example: otpreport dead stats --by account,hour --since 24h")
def stats(
    *,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    message_id: MessageIds = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    by: Annotated[
        str, typer.Option("--by", metavar="A,B", help="Group by any of account, reason, code, hour (UTC).")
    ] = "account,reason,code",
    as_json: Json = False,
) -> None:
    """Count dead letters by account, reason, code or hour.

    Largest group first; in time order when grouped by hour.
    """
    from worker.cli.selection import Query
    from worker.cli.stats import show_stats

    query = Query(account, reason, code, since, until, in_doubt, message_ids=message_id)
    raise typer.Exit(show_stats(query, by=by, as_json=as_json))


@app.command(epilog="Example: otpreport dead replay --account tencent --code 'FailedOperation*' --share 0.1")
def replay(
    ids: Ids = None,
    *,
    every: All = False,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    message_id: MessageIds = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    include_in_doubt: IncludeInDoubt = False,
    share: Share = "0.2",
    wait: Annotated[
        bool, typer.Option("--wait", help="Until all are delivered or dead again; then say how many.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, metavar="S", help="Seconds to wait at most; 0: no limit.")
    ] = 0.0,
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Send dead letters again, below live traffic.

    Workers take them oldest first, only when no live event needs the slot, and never above --share. Those of an account
    that is not running wait. Each starts with no attempts used. If this command is killed, run it again: nothing is
    lost or replayed twice. Letters in doubt are skipped unless asked for; so are those of accounts that are not
    configured. `dead progress` shows the progress, `dead recall` cancels what is left. With --wait the exit status is
    1 unless all were delivered.
    """
    from worker.cli.replay import replay_letters
    from worker.cli.selection import Query

    query = Query(
        account, reason, code, since, until, in_doubt, tuple(ids or ()), every=every, message_ids=message_id
    )
    raise typer.Exit(
        replay_letters(
            query,
            share=share,
            include_in_doubt=include_in_doubt,
            wait=wait,
            timeout=timeout,
            by=by,
            yes=yes,
            as_json=as_json,
        )
    )


@app.command(epilog="Example: otpreport dead progress --wait")
def progress(
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Until none is left, or Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the progress of replays."""
    from worker.cli.replay import show_progress

    raise typer.Exit(show_progress(wait=wait, as_json=as_json))


@app.command(epilog="Example: otpreport dead recall --account tencent")
def recall(
    ids: Ids = None,
    *,
    every: All = False,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    message_id: MessageIds = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Cancel the part of a replay that has not been sent.

    Letters queued for replay become plain dead letters again, with their whole history.
    """
    from worker.cli.replay import recall_letters
    from worker.cli.selection import Query

    query = Query(
        account, reason, code, since, until, in_doubt, tuple(ids or ()), every=every, message_ids=message_id
    )
    raise typer.Exit(recall_letters(query, by=by, yes=yes, as_json=as_json))


@app.command(epilog="Example: otpreport dead purge --reason invalid --until 30d --export old.jsonl")
def purge(
    ids: Ids = None,
    *,
    every: All = False,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    message_id: MessageIds = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="FILE", help="Export them to this new file first."),
    ] = None,
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters permanently (export them first)."""
    from worker.cli.purge import purge_letters
    from worker.cli.selection import Query

    query = Query(
        account, reason, code, since, until, in_doubt, tuple(ids or ()), every=every, message_ids=message_id
    )
    raise typer.Exit(purge_letters(query, export=export, by=by, yes=yes, as_json=as_json))


@app.command(epilog="Example: otpreport dead export --since 7d --output dead.jsonl")
def export(
    *,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    message_id: MessageIds = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New file to write; default: standard output.")
    ] = None,
) -> None:
    """Write dead letters as JSON lines.

    With their messages, account by account, oldest first; all of them without a filter. The message is in `raw` if
    it is text, else in `raw_base64`.
    """
    from worker.cli.letters import export_letters
    from worker.cli.selection import Query

    raise typer.Exit(
        export_letters(Query(account, reason, code, since, until, in_doubt, message_ids=message_id), output)
    )


@app.command("import", epilog="Example: otpreport dead import fixed.jsonl --dry-run")
def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="A corrected export; -: standard input.", show_default=False),
    ],
    *,
    include_in_doubt: IncludeInDoubt = False,
    share: Share = "0.2",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file and count; change nothing.")
    ] = False,
    by: By = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Correct dead letters and send them again.

    FILE is what `dead export` wrote, with `event` corrected in an editor and the other lines removed; only `id`,
    `died_ms` and `event` are read. The whole file is checked first. The same file imported twice changes nothing.
    """
    from worker.cli.importing import import_letters

    raise typer.Exit(
        import_letters(
            file,
            share=share,
            include_in_doubt=include_in_doubt,
            dry_run=dry_run,
            by=by,
            yes=yes,
            as_json=as_json,
        )
    )
