"""A worker for `demo --story`, in which a second stands for a minute: an OTP closes a second after its end."""

from __future__ import annotations

import sys

from tasks.tracking.tracker import Times
from worker import runtime
from worker.cli.app import main as run


def main() -> None:
    """Run it until a signal stops it."""
    runtime.TIMES = Times(grace=1, watch=1, gap=10, early=15)
    sys.argv = ["otpreport", "run"]
    run()
