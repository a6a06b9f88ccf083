"""Ctrl-C at any moment of a command's start: it ends at once, with 130, and without a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command import ROOT, environment
from worker.embedded import free_port

HOOK = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ.get("INTERRUPT_AT"):
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""
"""Sends the signal when a module is about to be imported: a moment that every run has."""

MOMENTS = [
    (("status",), "otpreport.app_folder"),
    (("status",), "typer"),
    (("status",), "worker.cli.status"),
    (("accounts", "list"), "worker.cli.session"),
    (("exporter",), "worker.health"),
    (("simulate",), "simulator.server"),
    (("run",), "worker.celery"),
    (("run",), "celery.worker.consumer"),
]


@pytest.mark.parametrize(("command", "module"), MOMENTS, ids=str)
@pytest.mark.parametrize("program", ["otpreport", "worker"])
def test_ctrl_c_during_the_start(tmp_path: Path, program: str, command: tuple[str, ...], module: str) -> None:
    """Whichever module is being imported, for the command as installed and from a checkout."""
    if (program, module) == ("worker", "otpreport.app_folder"):
        module = "worker.collector"
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    paths = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "INTERRUPT_AT": module}
    env = environment(f"redis://127.0.0.1:{free_port()}/0", OTPREPORT_METRICS_PORT="0") | paths
    ended = subprocess.run(
        [sys.executable, "-m", program, *command],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode in (130, -2)  # -2: by the signal, which a shell calls 130
    assert "Traceback" not in ended.stderr
