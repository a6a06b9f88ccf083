"""A real HTTP proxy, tinyproxy, that forwards what it is asked to CONNECT to."""

import shutil
import socket
import subprocess
from pathlib import Path
from typing import Self

import pytest

from tests.support.wait import until
from worker.embedded import free_port

BINARY = "tinyproxy"


class Tinyproxy:
    """Run one on a free port of `host`; with `user` it wants that user and the password `secret`."""

    def __init__(self, folder: Path, *, host: str = "127.0.0.1", user: str = "") -> None:
        if not shutil.which(BINARY):
            pytest.skip(f"needs {BINARY}: apt-get install tinyproxy-bin")
        self._folder, self._host, self._user = folder, host, user
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its URL, with user and password."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{f'{self._user}:secret@' * bool(self._user)}{host}:{self.port}"

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self._folder / "tinyproxy.log").read_text(errors="replace")

    @property
    def connects(self) -> int:
        """How many tunnels it was asked for."""
        return self.log.count("): CONNECT ")

    def kill(self) -> None:
        """End it at once (SIGKILL), with what is in its tunnels."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=30)

    def restart(self) -> None:
        """End it, with all tunnels, and start it again."""
        self.__exit__()
        self.__enter__()

    def __enter__(self) -> Self:
        lines = [f"Port {self.port}", f"Listen {self._host}", "LogLevel Connect", "MaxClients 200"]
        lines += [f"BasicAuth {self._user} secret"] * bool(self._user)
        config = self._folder / "tinyproxy.conf"
        config.write_text("\n".join(lines) + "\n")
        with (self._folder / "tinyproxy.log").open("ab") as log:
            self._process = subprocess.Popen([BINARY, "-d", "-c", config], stdout=log, stderr=log)
        until(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        with socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET) as peer:
            return peer.connect_ex((self._host, self.port)) == 0
