"""An earlier version of this project, out of its own history, to run beside this one."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.support.worker_process import ROOT

BEFORE = "5f39f89"
"""The last version that knows of no format number, no epoch and no clocks of others."""


def checkout(folder: Path, commit: str = BEFORE) -> Path:
    """Put the files of a commit into a folder and return it; skip the test where there is no history."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"needs commit {commit} (a full clone: git fetch --unshallow): {archive.stderr.decode()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


def command(root: Path, config: Path, *arguments: str) -> str:
    """Run an operator's command of the checkout `root` and return what it printed; it has to succeed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTPREPORT_")}
    done = subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        cwd=root,
        env=clean | {"OTPREPORT_CONFIG": str(config)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
