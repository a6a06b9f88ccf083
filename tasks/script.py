"""Lua scripts; each is a file beside the Python that calls it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from tasks.shared import prelude

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence
    from typing import Any, Protocol

    class Client(Protocol):
        """The two commands of a Redis client that a script needs."""

        def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...  # noqa: D102

        def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Awaitable[Any]: ...  # noqa: D102


Arguments = list[bytes | bytearray | memoryview | str | int | float]
"""What redis-py's scripts take."""

FOLDER = Path(__file__).parent

FUNCTIONS = {
    "limiter/admit.lua": ("sound.lua", "limiter/rate.lua", "limiter/permits.lua", "remembered.lua"),
    "fleet/epoch.lua": ("sound.lua",),
    "dead_letters/keep.lua": ("key.lua", "sound.lua"),
    "limiter/groups.lua": ("sound.lua",),
    "queue/drop.lua": ("sound.lua",),
    "queue/lease.lua": (
        "key.lua",
        "sound.lua",
        "tracking/automatic.lua",
        "queue/bury.lua",
        "limiter/rate.lua",
    ),
    "fleet/pulse.lua": ("key.lua", "sound.lua"),
    "queue/recover.lua": ("key.lua", "sound.lua", "tracking/automatic.lua", "queue/bury.lua"),
    "queue/settle.lua": (
        "key.lua",
        "sound.lua",
        "tracking/automatic.lua",
        "queue/breaker.lua",
        "remembered.lua",
    ),
    "fleet/snapshot.lua": ("key.lua", "sound.lua"),
    "tracking/track.lua": ("key.lua", "sound.lua", "remembered.lua"),
    "accounts/throttle.lua": ("limiter/rate.lua",),
}
"""Script to the files whose functions it uses; Redis can't include files."""


def text_of(name: str) -> str:
    """Return a script's text, with the shared numbers and functions inserted after its line of flags."""
    first, _, rest = (FOLDER / name).read_text(encoding="utf-8").partition("\n")
    shared = "".join((FOLDER / file).read_text(encoding="utf-8") for file in FUNCTIONS.get(name, ()))
    return f"{first}\n{prelude(shared + rest)}{shared}{rest}"


DENIED_IN_A_SCRIPT = re.compile(r"ACL failure in script|The user executing the script can't")


def is_denied(error: ResponseError) -> bool:
    """Return whether our user lacks the right to a command, or to one that a script calls."""
    return isinstance(error, NoPermissionError) or DENIED_IN_A_SCRIPT.search(str(error)) is not None


_LINE = re.compile(r"can't run .* script: ([0-9a-f]{40}), on @user_script:(\d+)")
_CALL = re.compile(r"call\('(\w+)'")


def denied_command(error_text: str) -> str:
    """Return the command that Redis 7.0 forbade a script: it tells only the line. Empty where that is not needed."""
    found = _LINE.search(error_text)
    if found is None:
        return ""
    texts = (text_of(path.relative_to(FOLDER).as_posix()) for path in FOLDER.rglob("*.lua"))
    lines = next((text.splitlines() for text in texts if _sha(text) == found[1]), list[str]())
    return " or ".join(f"'{name.lower()}'" for name in _CALL.findall("".join(lines[int(found[2]) - 1 :][:1])))


def _sha(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def ignore(faults: Sequence[str]) -> None:
    """Ignore keys that can't be used."""


class Script:
    """A Lua script that survives `SCRIPT FLUSH` and a new server."""

    def __init__(self, name: str) -> None:
        self._text = text_of(name)
        self._sha = _sha(self._text)

    async def run(self, client: Client, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Any:
        """Run the script atomically in Redis and return its reply."""
        try:
            return await client.evalsha(self._sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await client.eval(self._text, len(keys), *keys, *arguments)
