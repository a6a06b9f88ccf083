"""The command line: every command with its options.

This module holds only names and options. Each command imports what it needs when it runs: `--help` stays fast, and
no command depends on the packages of another.
"""

# ruff: noqa: PLC0415 - a command's imports are its own

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal, TypeAlias, cast

import typer

from otpreport import interrupt
from otpreport.extras import missing
from otpreport.version import VERSION
from worker.cli import dead
from worker.cli.encoding import takes_all
from worker.cli.errors import INTERRUPTED, NO, WRONG, CommandError
from worker.cli.usage import MOST, PlainCommand
from worker.cli.who import By
from worker.fleet.wording import plain

if TYPE_CHECKING:
    from io import TextIOWrapper

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]

app = typer.Typer(
    name="otpreport",
    help="Report OTP conversions to SMS providers: run the workers, watch the fleet, handle dead letters.",
    epilog="Settings come from the environment (OTPREPORT_...) or the TOML file named by OTPREPORT_CONFIG.  "
    "Exit status: 0 success, 1 check failed or Redis unreachable, 2 usage or configuration error.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
accounts_app = typer.Typer(
    help="The configured accounts: list, pause, resume, slow down, purge.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(accounts_app, name="accounts")
app.add_typer(dead.app, name="dead")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"otpreport {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    interrupt.raise_again()  # from here on a command decides what Ctrl-C means


@app.command(epilog="Example: otpreport run --accounts tencent,alibaba")
def run(
    accounts: Annotated[
        str, typer.Option(metavar="A,B", help="Serve only these accounts; default: all configured.")
    ] = "",
) -> None:
    """Run a worker until SIGTERM; start more to scale out."""
    from worker.cli.run import run

    raise typer.Exit(run(accounts))


@app.command(epilog="Example: otpreport demo --keep")
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Keep running until Ctrl-C, to explore.")] = False,
    providers: Annotated[
        Literal["two", "all"], typer.Option(help="Report to two providers, or to every provider.")
    ] = "two",
    story: Annotated[
        bool, typer.Option("--story", help="Show conversion rates and alerts while SMS fail; takes a minute.")
    ] = False,
) -> None:
    """Run a demo with its own Redis, providers and worker."""
    if fault := missing("demo"):
        raise CommandError(WRONG, fault)
    if story and (keep or providers != "two"):
        raise CommandError(WRONG, "--story runs by itself: leave out --keep and --providers")
    from worker.demo import main as demo_main

    raise typer.Exit(demo_main(keep=keep, everyone=providers == "all", story=story))


@app.command(epilog="Example: otpreport simulate --port 9900")
def simulate(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with keys and fault plan; default: built-in test keys.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 0,
    *,
    env: Annotated[
        bool, typer.Option("--env", help="Print a worker's settings for them, as lines for a shell.")
    ] = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print them as a TOML file.")] = False,
    accounts: Annotated[
        str,
        typer.Option(
            metavar="A,B",
            help="Print the settings of these accounts, or `all`; default: tencent and alibaba, with --config all.",
        ),
    ] = "",
) -> None:
    """Run simulated SMS providers for testing.

    On a terminal it prints the settings of a worker that reports to them, elsewhere its URL as a line of JSON; then it
    serves until SIGTERM.
    """
    from worker.cli.simulate import simulate

    raise typer.Exit(simulate(config, host, port, env=env, toml=toml, accounts=accounts))


@app.command(epilog="Example: OTPREPORT_METRICS_PORT=9807 otpreport exporter")
def exporter() -> None:
    """Export the metrics of the whole fleet to Prometheus.

    One exporter is enough: it reads everything from Redis. It needs no keys; without accounts in its settings it uses
    those the workers announce. Serves until SIGTERM, on OTPREPORT_METRICS_PORT or 9807.
    """
    from worker.cli.session import settings_or_stop
    from worker.fleet.exporter import main as exporter_main

    raise typer.Exit(exporter_main(settings_or_stop(keyless=True)))


@app.command(epilog="Example: docker compose exec worker otpreport ready")
def ready(
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Its port; default: OTPREPORT_METRICS_PORT.")
    ] = None,
) -> None:
    """Check if the worker or exporter on this machine is ready.

    Prints the body of its /readyz. Exit status 1: not ready, or the port is closed; 2: configuration error.
    """
    from worker.cli.ready import ready

    raise typer.Exit(ready(port))


@app.command(epilog="Example: otpreport check && systemctl reload 'otpreport-worker@*'")
def check(
    *,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Also test each account's keys at its provider; nothing is reported."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the configuration and check Redis.

    Exit status 1: a check failed, or Redis is unreachable; 2: configuration error, or this Redis is unsuitable.
    """
    from worker.cli.check import check

    raise typer.Exit(check(probe=probe, as_json=as_json))


@app.command(epilog="Example: otpreport status --watch")
def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh until Ctrl-C.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(min=0.2, max=3600, metavar="SECONDS", help="Refresh interval of --watch; default: 1."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the state and backlog of every account."""
    from worker.cli.status import status

    raise typer.Exit(status(watch=watch, as_json=as_json, interval=interval))


@app.command(epilog="Example: otpreport find 5000:3187640155")
def find(
    message_id: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="As the provider knows it.")],
    *,
    account: Annotated[str, typer.Option(metavar="NAME", help="Look at this account only.")] = "",
    as_json: Json = False,
) -> None:
    """Show what happened to an event: where it is now.

    It waits, is leased by a worker, is scheduled for another attempt, is a dead letter, was delivered, or is unknown
    here. Read-only. Exit status 0: found; 1: unknown here, or Redis unreachable; 2: usage or configuration error.
    """
    from worker.cli.find import find

    raise typer.Exit(find(message_id, account=account, as_json=as_json))


@app.command(epilog="Example: otpreport conversion --country BR")
def conversion(
    *,
    country: Annotated[
        str, typer.Option(metavar="CC", help="Compare all accounts for this country, the best first.")
    ] = "",
    hours: Annotated[
        int,
        typer.Option(min=1, max=49, help="OTPs whose time ended in the last hours, with the running one."),
    ] = 24,
    as_json: Json = False,
) -> None:
    """Show the conversion rate by account and country.

    Of the OTPs whose time is over, the share that users verified, with its interval of 95 % confidence. Only accounts
    whose app reports OTPs as sent have one.
    """
    from worker.cli.conversion import conversion

    raise typer.Exit(conversion(country=country, hours=hours, as_json=as_json))


@app.command(epilog="Example: otpreport audit --count 20")
def audit(
    *,
    count: Annotated[int, typer.Option(min=0, max=MOST, help="Most entries to show; 0: all.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what operators changed: who, when and what.

    Pauses, resumes, rate limits, replays and purges, newest first. About the last 10,000 are kept.
    """
    from worker.cli.audit import show_audit

    raise typer.Exit(show_audit(count=count, as_json=as_json))


@app.command(epilog="Example: otpreport send verifications.csv --dry-run")
def send(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="CSV with a header, or JSON lines; - reads standard input.")
    ],
    *,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=1_000_000, metavar="N", help="Events/s; default: a fifth of the lowest rate limit."
        ),
    ] = None,
    from_line: Annotated[
        int,
        typer.Option(
            min=0, max=MOST, metavar="N", help="Start at this line; default: after those sent before."
        ),
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and count all lines; send nothing.")
    ] = False,
    by: By = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Put the events of a file on the queue.

    Checks the whole file first and shows what it would send. FILE.sent keeps how far it came: after an interruption,
    run the same command again. Columns: account, message_id, occurred_at; optional verified, sent_at, app_id.
    """
    from worker.cli.send import send

    raise typer.Exit(
        send(file, rate=rate, from_line=from_line, dry_run=dry_run, by=by, yes=yes, as_json=as_json)
    )


@accounts_app.command("list", epilog="Example: otpreport accounts list --json")
def accounts_list(*, as_json: Json = False) -> None:
    """List the configured accounts, their states and reasons."""
    from worker.cli.accounts import list_accounts

    raise typer.Exit(list_accounts(as_json=as_json))


Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The account.")]
Reason: TypeAlias = Annotated[
    str, typer.Option(help="Why; recorded in the audit and shown with the account.")
]


@accounts_app.command("pause", epilog='Example: otpreport accounts pause tencent --reason "ticket 4711"')
def accounts_pause(
    name: Name,
    *,
    reason: Annotated[
        str, typer.Option(help="Why (required); recorded in the audit and shown with the account.")
    ] = "",
    mode: Annotated[
        str, typer.Option(help="wait: events stay queued; shed: they are dropped and counted.")
    ] = "wait",
    by: By = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Drop events without asking.")] = False,
    as_json: Json = False,
) -> None:
    """Pause an account: its events wait, or are dropped.

    Takes effect on all workers at once and lasts until the account is resumed.
    """
    from worker.cli.control import pause

    raise typer.Exit(pause(name, mode, reason, by, yes=yes, as_json=as_json))


@accounts_app.command("resume", epilog="Example: otpreport accounts resume tencent")
def accounts_resume(
    name: Name,
    *,
    reason: Reason = "",
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going",
            help="Never stop it for a run of refused events, until the next resume without this.",
        ),
    ] = False,
    by: By = "",
    as_json: Json = False,
) -> None:
    """Resume an account, at its full rate.

    Whether an operator paused it, its provider refuses it or its circuit breaker is open. With --keep-going, a run of
    refused events does not stop it again: each becomes a dead letter. A resume without it restores that protection.
    """
    from worker.cli.control import resume

    raise typer.Exit(resume(name, reason, by, keep_going=keep_going, as_json=as_json))


@accounts_app.command("rate", epilog="Example: otpreport accounts rate tencent 200")
def accounts_rate(
    name: Name,
    rate: Annotated[
        str, typer.Argument(metavar="N|default", help="Requests/s; default: the configured rate.")
    ],
    *,
    reason: Reason = "",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Lower an account's rate limit.

    Applies to all accounts of its rate group, on all workers, until it is set back to `default`.
    """
    from worker.cli.control import rate as set_rate

    raise typer.Exit(set_rate(name, rate, reason, by, as_json=as_json))


@accounts_app.command("purge", epilog="Example: otpreport accounts purge tencent --code 'FailedOperation*'")
def accounts_purge(
    name: Name,
    *,
    every: Annotated[bool, typer.Option("--all", help="All events that wait for a retry or an eta.")] = False,
    code: Annotated[
        list[str] | None,
        typer.Option(
            "--code", metavar="CODE", help="Last attempt ended with this code; * and ? match (repeatable)."
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="Verified since: 2h (ago), or 2026-05-01T12:00 (UTC).")
    ] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="Verified until.")] = "",
    eta: Annotated[
        bool | None, typer.Option("--eta/--retry", help="Only those waiting for an eta, or for a retry.")
    ] = None,
    unserved: Annotated[
        bool,
        typer.Option(
            "--unserved",
            help="All that waits in the queue of an account that no worker serves: a misspelt one.",
        ),
    ] = False,
    reason: Reason = "",
    by: By = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Skip the confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Drop events that wait for a retry or an eta.

    This can't be undone: they are counted as purged and leave no dead letter. Leased events are not affected, nor are
    queued events that were never tried; `pause --mode shed` drops both kinds. With --unserved, drop the queue of an
    account that is in no worker's settings.
    """
    if unserved:
        if every or code or since or until or eta is not None:
            raise CommandError(WRONG, "--unserved drops the whole queue: leave the filter and --all out")
        from worker.cli.unserved import purge_unserved

        raise typer.Exit(purge_unserved(name, reason, by, yes=yes, as_json=as_json))

    from worker.cli.scheduled import purge_scheduled

    raise typer.Exit(
        purge_scheduled(
            name, code or (), since, until, eta, reason=reason, by=by, every=every, yes=yes, as_json=as_json
        )
    )


for each in (app, accounts_app, dead.app):
    for command in each.registered_commands:
        command.cls = PlainCommand


def main() -> None:
    """Run a command; report errors in plain lines and the exit status."""
    if not takes_all(sys.stdout):
        cast("TextIOWrapper[BinaryIO]", sys.stdout).reconfigure(errors="replace")
    try:
        app(prog_name="otpreport")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except CommandError as stop:
        for line in stop.lines:
            print(plain(line), file=sys.stderr)  # what was given may stand in it, a file's name for one
        sys.exit(stop.status)
    except BrokenPipeError:
        _say_no_more()  # the reader (`| head`) has seen enough
        sys.exit(NO)
    except Exception as error:
        sys.exit(_ended_by(error))


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _ended_by(error: Exception) -> int:
    """Say in one line what ended a command, and return the exit status."""
    if isinstance(error, OSError) and error.errno in _FULL:
        print(f"can't write: {error.strerror}", file=sys.stderr)
        _say_no_more()
        return NO
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        print("an argument is no UTF-8", file=sys.stderr)
        return WRONG
    if os.environ.get("OTPREPORT_LOG_LEVEL", "").lower() == "debug":
        raise error
    fault = f"{type(error).__name__}: {error}".splitlines()[0]
    print(f"internal error: {fault}: set OTPREPORT_LOG_LEVEL=debug to see where", file=sys.stderr)
    return NO


def _say_no_more() -> None:
    """Leave out what is not written yet: at exit Python would flush once more and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
