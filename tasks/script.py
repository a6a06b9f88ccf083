"""Lua scripts, each in the file beside the Python that calls it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import NoScriptError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from typing import Any, Protocol

    class Client(Protocol):
        """The two commands of a Redis client that a script needs."""

        def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...  # noqa: D102

        def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...  # noqa: D102


FOLDER = Path(__file__).parent

SHARED = {
    "admit.lua": ("sound.lua", "rate.lua", "remembered.lua"),
    "epoch.lua": ("sound.lua",),
    "groups.lua": ("sound.lua",),
    "lease.lua": ("sound.lua", "bury.lua", "rate.lua"),
    "pulse.lua": ("sound.lua",),
    "recover.lua": ("sound.lua", "bury.lua"),
    "settle.lua": ("sound.lua", "breaker.lua", "remembered.lua"),
    "snapshot.lua": ("sound.lua",),
    "throttle.lua": ("rate.lua",),
}
"""Script: the files whose functions it uses; Redis has no way to include one."""


def text_of(name: str) -> str:
    """Return a script's text, with what it shares between its first line, which holds its flags, and the rest."""
    first, _, rest = (FOLDER / name).read_text(encoding="utf-8").partition("\n")
    shared = "".join((FOLDER / file).read_text(encoding="utf-8") for file in SHARED.get(name, ()))
    return f"{first}\n{shared}{rest}"


class Script:
    """A Lua script that survives `SCRIPT FLUSH` and a new server."""

    def __init__(self, name: str) -> None:
        self._text = text_of(name)
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    async def run(self, client: Client, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Run the script atomically in Redis and return its reply."""
        try:
            return await client.evalsha(self._sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *arguments)
