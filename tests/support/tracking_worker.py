"""A worker whose OTPs close within seconds: `python -m tests.support.tracking_worker RULES`.

The worker is the real one; only the times that it gives to track.lua are shorter, or a rule of the script is gone.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import tasks.script
from tasks.tracking.tracker import Times
from worker import runtime

RULES: Mapping[str, Times] = {
    "quick": Times(grace=2, watch=6, gap=4, early=60),
    "patient": Times(grace=8, watch=6, gap=4, early=60),
    "hasty": Times(grace=0, watch=0, gap=4, early=60),
    "forgetful": Times(grace=2, watch=6, gap=4, early=60),
}
"""As a worker has them, but shorter; with more grace, for outages that are shorter than the gap; without the time of
grace, for who closes and for who was away; without a memory of the OTPs that are closed."""

_REPEAT = "if known and not is_member(known, unmatched_as(number)) then return end"

_text_of = tasks.script.text_of


def rules(name: str) -> tuple[str, ...]:
    """Return the command of a worker with these rules."""
    return ("-m", "tests.support.tracking_worker", name)


def _forgetful(name: str) -> str:
    text = _text_of(name)
    if name != "tracking/track.lua":
        return text
    if _REPEAT not in text:
        raise LookupError(_REPEAT)
    return text.replace(_REPEAT, "known = nil")


def main() -> None:
    """Put the rules in, then run the worker as `otpreport run` does."""
    name = sys.argv[1]
    sys.argv[1:] = ["run"]
    runtime.TIMES = RULES[name]
    if name == "forgetful":
        tasks.script.text_of = _forgetful
    from worker.cli.app import main as worker_main

    worker_main()


if __name__ == "__main__":
    main()
