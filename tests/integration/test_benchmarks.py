"""The benchmarks that work on a real server still run."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.worker_process import ROOT


def test_the_cost_of_each_script_is_measured() -> None:
    """Events go through lease, admit and settle, at each number in a call, and each costs something."""
    command = [sys.executable, "-m", "benchmarks.scripts", "--one", "--times", "1"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    costs = json.loads(printed)
    assert list(costs) == ["1", "20", "100"]
    for scripts in costs.values():
        assert list(scripts) == ["lease", "admit", "settle"]
        assert all(script > 0 for script, _ in scripts.values())
