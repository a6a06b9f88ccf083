"""Run the benchmarks and print what they found as Markdown."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks import (
    backlog,
    ceiling,
    client,
    compare,
    delay,
    hang,
    idle,
    imports,
    losses,
    many_accounts,
    otps,
    remembered,
    start,
    tracking,
    whereabouts,
)
from benchmarks.document import DOCUMENT, with_section
from benchmarks.effort import Effort, say
from benchmarks.finding import Finding
from benchmarks.machine import describe
from benchmarks.peers import run as peers

PLOT = DOCUMENT.with_suffix(".svg")

BENCHMARKS: dict[str, Callable[[Effort], Finding]] = {
    "compare": compare.run,
    "client": client.run,
    "import": imports.run,
    "ceiling": ceiling.run,
    "delay": delay.run,
    "accounts": many_accounts.run,
    "hang": hang.run,
    "idle": idle.run,
    "start": start.run,
    "backlog": backlog.run,
    "remembered": remembered.run,
    "otps": otps.run,
    "tracking": tracking.run,
}
ON_DEMAND: dict[str, Callable[[Effort], Finding]] = {
    "profile": whereabouts.run,
    "peers": peers.run,
    "losses": losses.run,
}


def parser() -> argparse.ArgumentParser:
    """Return the reader of the command line."""
    reader = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = ", ".join([*BENCHMARKS, *ON_DEMAND])
    reader.add_argument("--quick", action="store_true", help="short readings in one round: does it work?")
    reader.add_argument(
        "--only", metavar="NAMES", type=chosen, default=list(BENCHMARKS), help=f"with commas: {names}"
    )
    reader.add_argument("--rounds", type=int, metavar="N", help="how often each is measured, in turns (3)")
    reader.add_argument("--json", type=Path, metavar="FILE", help="write every reading there")
    reader.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help=f"write compare's bars there (docs/{PLOT.name}; --quick: none)",
    )
    reader.add_argument("--docs", action="store_true", help=f"put the tables into docs/{DOCUMENT.name}")
    return reader


def chosen(text: str) -> list[str]:
    """Return the benchmarks of a list with commas."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = set(names) - BENCHMARKS.keys() - ON_DEMAND.keys()
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no such benchmark: {', '.join(sorted(unknown)) or text}")
    return names


def stop(*_: object) -> None:
    """Leave by way of every context manager, so that all that was started is ended."""
    sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen benchmarks; one that fails does not stop the others."""
    signal.signal(signal.SIGTERM, stop)
    options = parser().parse_args(arguments)
    effort = Effort(rounds=options.rounds or (1 if options.quick else 3), quick=options.quick)
    plot = options.plot or (None if options.quick else PLOT)
    known = BENCHMARKS | ON_DEMAND | {"compare": partial(compare.run, plot=plot)}
    where = f"{describe()}, {effort.seconds:.0f} s a reading"
    print(where, end="\n\n", flush=True)
    findings: dict[str, Finding] = {}
    for name in options.only:
        say(f"{name} ...")
        try:
            findings[name] = known[name](effort)
        except RuntimeError as error:
            print(f"{name} failed: {error}", file=sys.stderr)
        else:
            print(findings[name].markdown(), flush=True)
            if options.docs:
                section = f"{findings[name].table()}\n\nMeasured {where}."
                DOCUMENT.write_text(with_section(DOCUMENT.read_text(), name, section))
    if options.json:
        report = {
            "where": where,
            "effort": asdict(effort),
            "findings": {n: asdict(f) for n, f in findings.items()},
        }
        options.json.write_text(json.dumps(report, indent=2))
    return 0 if len(findings) == len(options.only) else 1


if __name__ == "__main__":
    sys.exit(main())
