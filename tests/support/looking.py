"""Looking for events by their message ids while workers report them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import redis

from otpreport import Verification
from tasks.dedupe import Remembered
from tasks.find.finder import Finder
from tasks.find.memory import EndedMemory
from tasks.keys import Keys
from tests.support.fleet import Fleet


def find_moving(fleet: Fleet, times: int, *, newest: int = 50) -> Counter[str]:
    """Look for one of the newest events so many times; return where they were found, `unknown` among it."""
    chance, look = random.Random(1), looking_with(fleet.redis)
    found = Counter(look(chance.choice(fleet.sent[-newest:])) for _ in range(times))
    print(found)
    return found


def looking_with(client: redis.Redis) -> Callable[[Verification], str]:
    """Return a look for an event, which says where it is, or `unknown`, `doubtful` (not all was seen), `away`."""
    keys = Keys()
    finder = Finder(client, keys, EndedMemory(client, keys, Remembered()))

    def look(event: Verification) -> str:
        try:
            places, looked = finder.find(event.message_id, [event.account])
        except redis.RedisError:
            return "away"
        if places:
            return type(places[0]).__name__
        return "unknown" if looked.whole else "doubtful"

    return look
