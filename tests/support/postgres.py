"""A PostgreSQL server of our own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import pytest

from tests.support.wait import until
from worker.embedded import free_port

NOBODY = 65_534


class Postgres:
    """Run one on a free port, by a user who is not root, since PostgreSQL refuses that one."""

    def __init__(self) -> None:
        self._tools = _tools()
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        self._user = NOBODY if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        """The URL of its database."""
        return f"postgresql://app@127.0.0.1:{self.port}/postgres"

    def __enter__(self) -> Self:
        if self._user is not None:
            os.chown(self._folder, self._user, self._user)
        data = self._folder / "data"
        made = self._tool("initdb", "-D", data, "-U", "app", "-A", "trust", "-N")
        assert made.returncode == 0, made.stderr
        options = ("-p", self.port, "-k", self._folder, "-h", "127.0.0.1", "-F")
        command = [str(part) for part in (self._tools / "postgres", "-D", data, *options)]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(command, user=self._user, stdout=log, stderr=log, cwd="/")
        until(lambda: self._tool("pg_isready", "-h", "127.0.0.1", "-p", self.port).returncode == 0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()  # waits for its clients, who have ended
            self._process.wait(timeout=30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tool(self, name: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        command = [str(part) for part in (self._tools / name, *arguments)]
        return subprocess.run(command, user=self._user, capture_output=True, cwd="/", check=False)


def _tools() -> Path:
    """Return the folder of its programs, which Debian keeps out of the path."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else [*Path("/usr/lib/postgresql").glob("*/bin")]
    if not folders:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    return folders[0]
