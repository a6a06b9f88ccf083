"""Faults in Redis that block events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redis.exceptions import NoPermissionError, ResponseError

from tasks.fleet.pulse import Pulse
from tasks.fleet.snapshot import Snapshot

if TYPE_CHECKING:
    from redis import Redis

MOST = 10
"""Faults that are listed."""

WRITES_NOTHING = "#!lua flags=allow-oom\nreturn 1"
"""A script that Redis lets run only where it would let the workers' write."""


def faults(client: Redis, snapshot: Snapshot, pulse: Pulse) -> tuple[str, ...]:
    """Return a sentence for each; `redis.RedisError` when Redis is away."""
    found = [*_refused_writes(client)]
    keys = list(dict.fromkeys((*snapshot.faults, *pulse.faults)))
    found += [f"a key can't be used: {fault}" for fault in keys[:MOST]]
    if len(keys) > MOST:
        found.append(f"{len(keys) - MOST} more keys can't be used")
    return tuple(found)


def _refused_writes(client: Redis) -> list[str]:
    """Return why Redis refuses writes, e.g. MISCONF while its disk is full; nothing if it does not."""
    try:
        client.eval(WRITES_NOTHING, 0)
    except NoPermissionError:
        return []  # who only looks on may not be allowed to ask
    except ResponseError as error:
        return [f"redis refuses to write: {error}"]
    return []
