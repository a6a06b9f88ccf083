"""Ctrl-C while a command begins or ends: it ends at once, as a program in C does, without a traceback.

In between it raises KeyboardInterrupt, and the command says what that means. Where it was ignored or handled already,
it stays so.
"""

import signal


def end_quietly() -> None:
    """Let Ctrl-C end the process; a shell sees status 130."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_again() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as it does in Python."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
