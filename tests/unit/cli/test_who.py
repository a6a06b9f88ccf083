"""Who an operator is."""

import getpass
import os
import socket

import pytest

from worker.cli.errors import WRONG, CommandError
from worker.cli.who import who


def test_it_is_the_user_at_the_host_unless_a_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's made-up user is known by its number."""
    assert who("night shift") == "night shift"
    assert who() == f"{getpass.getuser()}@{socket.gethostname()}"

    def unknown() -> str:
        raise KeyError

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert who() == f"uid{os.getuid()}@{socket.gethostname()}"


@pytest.mark.parametrize("name", [" ", "a\nb", "\x1b[2J", "x" * 129])
def test_what_is_no_name_is_refused(name: str) -> None:
    """It would forge a line, or steer the terminal of who reads the audit."""
    with pytest.raises(CommandError, match="is not a name") as stopped:
        who(name)
    assert stopped.value.status == WRONG
