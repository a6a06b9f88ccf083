"""The command `otpreport`, also as `python -m otpreport`."""

# ruff: noqa: E402 - Ctrl-C may come with the next import

from otpreport import interrupt

interrupt.end_quietly()

import sys

from otpreport import app_folder
from otpreport.version import VERSION


def main() -> None:
    """Run a command of the worker's command line; `--version` works with the client alone."""
    if sys.argv[1:] == ["--version"]:
        print(f"otpreport {VERSION}")
        return
    try:
        app_folder.put_first()
    except ImportError as error:
        sys.exit(f"otpreport: {error}")

    from worker.__main__ import main as run  # noqa: PLC0415 - importable from now on

    run()


if __name__ == "__main__":
    main()
