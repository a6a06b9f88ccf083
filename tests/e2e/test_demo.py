"""The demo, as a newcomer runs it."""

import re
import subprocess
import sys

from tests.support.simulator import ROOT


def test_the_demo_accounts_for_every_event() -> None:
    """It ends with status 0, a column for each account, and what to try next."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", "demo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every event is accounted for" in done.stdout
    assert "Try next" in done.stdout
    enqueued = re.search(r"enqueued +(\d+) +(\d+)", done.stdout)
    assert enqueued is not None
    assert sum(map(int, enqueued.groups())) == 4040
