"""Looking for events by their message ids while workers report them."""

from __future__ import annotations

import random
from collections import Counter

from tasks.dedupe import Remembered
from tasks.find.finder import Finder
from tasks.find.memory import DeliveredMemory
from tasks.keys import Keys
from tests.support.fleet import Fleet


def find_moving(fleet: Fleet, times: int, *, newest: int = 50) -> Counter[str]:
    """Look for one of the newest events so many times; return where they were found, `unknown` among it."""
    chance, keys = random.Random(1), Keys()
    finder = Finder(fleet.redis, keys, DeliveredMemory(fleet.redis, keys, Remembered()))
    found = Counter[str]()
    for _ in range(times):
        event = chance.choice(fleet.sent[-newest:])
        places, _ = finder.find(event.message_id, [event.account])
        found[type(places[0]).__name__ if places else "unknown"] += 1
    print(found)
    return found
