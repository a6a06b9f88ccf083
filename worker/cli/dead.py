"""The commands for dead letters, with their options."""

# ruff: noqa: PLC0415 - a command's imports are its own

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Ids: TypeAlias = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="As `list` shows it.", show_default=False)
]
All: TypeAlias = Annotated[bool, typer.Option("--all", help="Every dead letter.")]
Accounts: TypeAlias = Annotated[
    list[str] | None, typer.Option("--account", metavar="NAME", help="Of this account (repeatable).")
]
Reasons: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--reason", metavar="WORD", help="invalid, expired, permanent, exhausted or poison (repeatable)."
    ),
]
Codes: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--code", metavar="CODE", help="With this provider's code; * and ? match (repeatable)."),
]
Since: TypeAlias = Annotated[
    str, typer.Option(metavar="WHEN", help="Died since then: 2h, 30m, 7d ago, or 2026-05-01T12:00 (UTC).")
]
Until: TypeAlias = Annotated[str, typer.Option(metavar="WHEN", help="Died until then.")]
InDoubt: TypeAlias = Annotated[
    bool | None, typer.Option("--in-doubt/--no-in-doubt", help="The provider may have taken it, or not.")
]
Yes: TypeAlias = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]

app = typer.Typer(
    help="The events that failed for good: look, replay, export, purge.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", epilog="Example: python -m worker dead list --account tencent --since 2h --no-in-doubt")
def list_(
    *,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    limit: Annotated[int, typer.Option(min=0, help="Show so many, the newest; 0: all.")] = 50,
    as_json: Json = False,
) -> None:
    """List dead letters, the newest first."""
    from worker.cli.letters import list_letters
    from worker.cli.selection import Query

    query = Query(account, reason, code, since, until, in_doubt)
    raise typer.Exit(list_letters(query, limit=limit, as_json=as_json))


@app.command(epilog="Example: python -m worker dead show tencent:4f1d2a90c3be:17")
def show(id_: Annotated[str, typer.Argument(metavar="ID")], *, as_json: Json = False) -> None:
    """Show all there is about one dead letter."""
    from worker.cli.letters import show_letter

    raise typer.Exit(show_letter(id_, as_json=as_json))


@app.command(epilog="Example: python -m worker dead stats --since 24h")
def stats(
    *,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    as_json: Json = False,
) -> None:
    """Count dead letters by account, reason and code."""
    from worker.cli.letters import show_stats
    from worker.cli.selection import Query

    raise typer.Exit(show_stats(Query(account, reason, code, since, until, in_doubt), as_json=as_json))


@app.command(epilog="Example: python -m worker dead replay --account tencent --code 'FailedOperation*'")
def replay(
    ids: Ids = None,
    *,
    every: All = False,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    include_in_doubt: Annotated[
        bool, typer.Option("--include-in-doubt", help="Also those that the provider may have taken already.")
    ] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Put dead letters back into the queue.

    Each starts afresh. When this is killed half-way, run it again: nothing is lost or replayed twice. Letters
    in doubt are left alone unless asked for, and so are those of accounts that are not configured.
    """
    from worker.cli.moves import replay_letters
    from worker.cli.selection import Query

    query = Query(account, reason, code, since, until, in_doubt, tuple(ids or ()), every=every)
    raise typer.Exit(replay_letters(query, include_in_doubt=include_in_doubt, yes=yes, as_json=as_json))


@app.command(epilog="Example: python -m worker dead purge --reason invalid --until 30d")
def purge(
    ids: Ids = None,
    *,
    every: All = False,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters for good (export them first)."""
    from worker.cli.moves import purge_letters
    from worker.cli.selection import Query

    query = Query(account, reason, code, since, until, in_doubt, tuple(ids or ()), every=every)
    raise typer.Exit(purge_letters(query, yes=yes, as_json=as_json))


@app.command(epilog="Example: python -m worker dead export --since 7d --output dead.jsonl")
def export(
    *,
    account: Accounts = None,
    reason: Reasons = None,
    code: Codes = None,
    since: Since = "",
    until: Until = "",
    in_doubt: InDoubt = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output if left out.")
    ] = None,
) -> None:
    """Write dead letters as JSON lines.

    With their messages, account by account, the oldest first; all of them when no filter is given. The
    message is in `raw` where it is text, else in `raw_base64`.
    """
    from worker.cli.letters import export_letters
    from worker.cli.selection import Query

    raise typer.Exit(export_letters(Query(account, reason, code, since, until, in_doubt), output))
