"""Check whether a Redis can hold the queue at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.exceptions import (
    ClusterCrossSlotError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ResponseError,
)

from otpreport.errors import OtpreportError
from tasks.keys import Keys
from tasks.script import Script
from tasks.stored import leading

if TYPE_CHECKING:
    from redis.asyncio import Redis


FORMAT = 1
"""The format of this version's data in Redis; raised when older workers would not be safe beside it."""


class Unfit(OtpreportError):  # noqa: N818 - a state of Redis, not an error of ours
    """This Redis, or its user's rights, must be changed before it can hold the queue; the text says why."""


async def check_fitness(redis: Redis, keys: Keys) -> None:
    """Raise Unfit if waiting would not help, `redis.RedisError` if Redis can't answer now."""
    try:
        missing: list[bytes] = await Script("queue/capability.lua").run(
            redis, [keys.workers, keys.ready("x")[0]], []
        )
        untyped: Any = redis
        stored: bytes | None = await untyped.hget(keys.maintenance, "format")
    except ResponseError as error:
        reason = _unfit(error, " ".join(str(error).split()))
        if reason is None:
            raise
        raise Unfit(reason) from error
    if missing:
        names = ", ".join(command.decode() for command in missing)
        raise Unfit(
            f"its user may not run, or it does not know, {names} on {keys.prefix}otpreport* ({_RIGHTS})"
        )
    if (found := leading(stored)) > FORMAT:
        raise too_new(found)


def too_new(stored: int) -> Unfit:
    """Return why this version must not touch the data of a newer one."""
    return Unfit(
        f"its data is of a newer version (format {stored}; this one knows {FORMAT}): upgrade this one"
    )


_RIGHTS = "see the rights in docs/scaling.md"


def _unfit(error: ResponseError, error_text: str) -> str | None:
    """Return why no later try can succeed; None if one may."""
    match error:
        case NoPermissionError():
            return f"its user lacks the right to a command or key: {error_text} ({_RIGHTS})"
        case ClusterCrossSlotError() | MovedError() | ClusterDownError():
            return "it is a cluster: scripts touch several keys at once; use a single server, with Sentinel if needed"
        case _ if "compiling script" in error_text:
            return "it is older than 7: use Redis or Valkey 7 or newer"
        case _ if error_text.lower().startswith("unknown command"):
            return f"it has no scripting, which the queue needs: {error_text[:60]}"
        case _ if "DB index is out of range" in error_text or "SELECT is not allowed" in error_text:
            return f"it has no such database: {error_text}"
        case _:
            return None
