"""All threads' stacks on standard error: on a fatal fault, or on request even if no Python code runs any more.

They bypass the queue of `config.output`, whose thread may be one of those that hang.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import stat
from contextlib import suppress

STDERR = 2


def enable() -> None:
    """Write all stacks on SIGSEGV and the like, which still end the process, and on SIGUSR2, which does not."""
    descriptor = _stderr()
    faulthandler.enable(descriptor)
    faulthandler.register(signal.SIGUSR2, descriptor)


def _stderr() -> int:
    """Return standard error; if it is a pipe, opened so that a full one drops stacks instead of blocking."""
    if stat.S_ISFIFO(os.fstat(STDERR).st_mode):
        # opened anew: a flag on the old one would be seen by all processes that share it
        with suppress(OSError):
            return os.open(f"/proc/self/fd/{STDERR}", os.O_WRONLY | os.O_NONBLOCK)
    return STDERR
