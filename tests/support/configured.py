"""A server that gets its configuration from a file, and says over HTTP when it is ready."""

import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.support.wait import until
from worker.embedded import free_port


class Configured:
    """Start a program with a folder, a configuration and a port of its own; its log is shown when it ends too soon."""

    binary: str
    name: str

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir()
        config = self._folder / f"{self.name}.yml"
        config.write_text(json.dumps(self._configuration()))  # JSON is YAML
        listen = f"--web.listen-address=127.0.0.1:{self.port}"
        arguments = [self.binary, f"--config.file={config}", listen, *self._arguments(self._folder / "data")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(arguments, stdout=log, stderr=log)
        until(self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)

    @property
    def _log(self) -> Path:
        return self._folder / f"{self.name}.log"

    def _configuration(self) -> dict[str, Any]:
        raise NotImplementedError

    def _arguments(self, data: Path) -> list[str]:
        """Return the options besides those for the configuration and the port; `data` is where to keep things."""
        raise NotImplementedError

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
