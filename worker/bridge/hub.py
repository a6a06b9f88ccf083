"""A hub that hears at once: Celery's own naps 0.1 s at a time as long as it has no file to watch."""

from __future__ import annotations

import signal
import socket
from typing import Any


def keep_awake(hub: Any) -> None:
    """Let Celery's hub wait for signals and calls from other threads, and wake at once (main thread).

    kombu's hub polls only when a reader is registered; our transport has no connection that could be one. The reader
    registered here is the file to which Python writes each signal's number, so that SIGTERM ends the wait.
    """
    heard, signals = socket.socketpair()
    heard.setblocking(False)
    signals.setblocking(False)
    before = signal.set_wakeup_fd(signals.fileno(), warn_on_full_buffer=False)

    def close(_: Any) -> None:
        hub.on_close.discard(close)
        signal.set_wakeup_fd(before)
        heard.close()
        signals.close()

    hub.add_reader(heard, heard.recv, 4096)
    hub.on_close.add(close)
