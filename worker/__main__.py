"""`python -m worker` in a checkout, `otpreport` elsewhere: every command of the operator."""

# ruff: noqa: E402, PLC0415 - each import needs what stands above it

from otpreport import interrupt

interrupt.end_quietly()

import sys

from worker.collector import look_seldom

WRONG = 2


def main() -> None:
    """Run a command; say in one line which packages it lacks."""
    look_seldom()
    if fault := lacking():
        print(fault, file=sys.stderr)
        sys.exit(WRONG)
    from worker.cli.app import main as run

    try:
        run()
    finally:
        interrupt.end_quietly()


def lacking() -> str:
    """Say what this Python lacks for the command; nothing if it has all."""
    try:
        from otpreport.extras import missing
    except ModuleNotFoundError as error:  # a checkout, and a Python that has not even what the client needs
        return f"{error.name} is not installed: `make demo` installs all of it, for .venv/bin/python"
    fault = missing("worker")
    return missing("demo") if fault and sys.argv[1:2] == ["demo"] else fault


if __name__ == "__main__":
    main()
