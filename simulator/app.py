"""The simulator as a program."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from simulator.server import Simulator
from simulator.settings import EXAMPLE, Settings, load
from simulator.validation import InvalidSettingsError

DONE, WRONG_USE = 0, 2
LAST_PORT = 65_535


Announce = Callable[[Settings, str], str]
"""What is printed as soon as it listens, from its settings and its URL."""


def json_line(_: Settings, url: str) -> str:
    """Return the URL for a program."""
    return orjson.dumps({"url": url, "pid": os.getpid()}, option=orjson.OPT_APPEND_NEWLINE).decode()


def main(
    config: Path | None = None, host: str = "127.0.0.1", port: int = 0, announce: Announce = json_line
) -> int:
    """Print one JSON line with the URL, then serve until SIGTERM or SIGINT; return the exit status."""
    try:
        asyncio.run(_serve(load(config or EXAMPLE), host, port, announce))
    except InvalidSettingsError as error:
        return _refuse(*error.faults)
    except (OSError, UnicodeError) as error:
        return _refuse(f"cannot listen on {host}:{port}: {_reason(error)}")
    return DONE


def run(arguments: Sequence[str] | None = None) -> int:
    """Read the command line of `python -m simulator` and serve."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description=main.__doc__)
    parser.add_argument(
        "--config", type=Path, help="TOML or JSON file with keys and fault plan; default: built-in test keys"
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_port, default=0, help="0: any free port")
    options = parser.parse_args(arguments)
    return main(options.config, options.host, options.port)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= LAST_PORT:
        raise argparse.ArgumentTypeError(f"{text} is not a port: give 0 to {LAST_PORT}")
    return port


async def _serve(settings: Settings, host: str, port: int, announce: Announce) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Simulator(settings).serve(host=host, port=port) as server:
        gc.freeze()  # keeps what exists now out of each collection
        sys.stdout.write(announce(settings, server.url))
        sys.stdout.flush()
        await stop.wait()


def _reason(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "no such name"
    # asyncio wraps the system's message; resolver errors have negative numbers.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def _refuse(*faults: str) -> int:
    for fault in faults:
        sys.stderr.write(f"{fault}\n")
    return WRONG_USE
