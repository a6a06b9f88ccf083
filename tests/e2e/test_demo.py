"""The demo: the main job with one command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.worker_process import ROOT
from worker.demo.main import DEADLINE


@pytest.mark.timeout(2 * DEADLINE)
def test_demo(tmp_path: Path) -> None:
    """`python -m worker demo` accounts for every event, says what to try next, and leaves nothing behind."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
    environment |= {"TMPDIR": str(tmp_path), "COLUMNS": "100"}
    command = [sys.executable, "-m", "worker", "demo"]
    run = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=2 * DEADLINE, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Every event is accounted for" in run.stdout
    rows = dict(re.findall(r"^ *(\S.*?)  +(\S.*)$", run.stdout, re.MULTILINE))
    enqueued = [int(number) for number in rows["enqueued"].split()]
    delivered = [int(number) for number in rows["delivered"].split()]
    assert sum(enqueued) > 3000
    assert all(0 < done <= sent for done, sent in zip(delivered, enqueued, strict=True))
    assert "Try next:" in run.stdout
    assert not run.stderr
    assert not list(tmp_path.glob("otpreport-demo-*"))
