"""A transport that keeps what is written, for tests that say themselves what comes back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from providers.base import Answer
from tasks.report import InDoubt, NotSent
from worker.http.http1 import HttpConnection


class Wire(asyncio.Transport):
    """Carry one connection; nothing of it leaves the process. Its end that is read stays silent."""

    def __init__(self, lost: Callable[[HttpConnection], None] = lambda _: None) -> None:
        super().__init__()
        self._tell = lost
        self.written: list[bytes] = []
        self.lost = 0
        self._closing = False
        self._quiet, self._open = os.pipe()
        self.connection = HttpConnection(self._gone)
        self.connection.connection_made(self)

    def _gone(self, connection: HttpConnection) -> None:
        self.lost += 1
        self._tell(connection)
        os.close(self._quiet)
        os.close(self._open)

    def ask(self) -> asyncio.Future[Answer]:
        """Write a request, and promise its answer, or why there is none."""
        promised: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.connection.ask(b"POST", partial(_keep, promised))
        return promised

    def fileno(self) -> int:
        """Return what can be waited for; nothing ever comes there."""
        return self._quiet

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return itself for its socket."""
        return self if name == "socket" else default

    def setsockopt(self, level: int, name: int, value: bytes) -> None:
        """Take an option of a socket."""

    def is_closing(self) -> bool:
        """Tell whether it was ended."""
        return self._closing

    def write(self, data: Any) -> None:
        """Keep what was written."""
        self.written.append(bytes(data))

    def abort(self) -> None:
        """End it; the connection hears of it in the loop's next turn, as from a real one."""
        self.end()

    def end(self, error: Exception | None = None) -> None:
        """End it, from this end or the other."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, error)


def _keep(
    promised: asyncio.Future[Answer], connection: HttpConnection, told: Answer | NotSent | InDoubt
) -> None:
    del connection
    if isinstance(told, Answer):
        promised.set_result(told)
    else:
        promised.set_exception(told)
