"""An environment for each peer, made when it is asked for: they need different versions of Redis' client."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.effort import say

FOLDER = Path(__file__).parents[2] / "build" / "peers"
COMMON = ("aiohttp==3.14.5", "uvloop==0.23.0", "orjson==3.13.0", "pydantic==2.14.4", "hiredis==3.5.0")


@dataclass(frozen=True, slots=True)
class Environment:
    """What a peer needs, and the oldest Python that it runs on."""

    name: str
    packages: tuple[str, ...]
    python: tuple[int, int] = (3, 11)

    def make(self) -> str:
        """Return its Python, with the packages installed; RuntimeError where that can't be."""
        folder = FOLDER / self.name
        python = folder / "bin" / "python"
        stamp = folder / "stamp"
        wanted = "\n".join((*self.packages, *COMMON))
        if stamp.exists() and stamp.read_text() == wanted:
            return str(python)
        say(f"  installing {' '.join(self.packages)} into an environment of its own")
        shutil.rmtree(folder, ignore_errors=True)
        _run(self._interpreter(), "-m", "venv", str(folder))
        _run(
            str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check", *self.packages, *COMMON
        )
        stamp.write_text(wanted)
        return str(python)

    def _interpreter(self) -> str:
        if sys.version_info >= self.python:
            return sys.executable
        for minor in range(self.python[1], self.python[1] + 4):
            found = shutil.which(f"python{self.python[0]}.{minor}")
            if found and not subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode:
                return found
        raise RuntimeError(
            f"{self.name} needs Python {self.python[0]}.{self.python[1]}, which is not on the path"
        )


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} ... failed: {done.stderr.strip()[-500:]}")
