"""Repeatable chance: a seed, message id and arrival number always give the same throw, in any order."""

from __future__ import annotations

import hashlib
import math
import struct
from statistics import NormalDist
from typing import NamedTuple

from simulator.plan import Latency

_FOUR = struct.Struct("<4Q")
_SCALE = 2.0**-64
_NORMAL = NormalDist()


class Throw(NamedTuple):
    """Four independent numbers in [0, 1)."""

    fault: float
    jitter: float
    tail: float
    size: float


def throw(seed: int, message_id: str, arrival: int) -> Throw:
    """Throw for the nth arrival of a message id."""
    text = f"{seed}/{arrival}/{message_id}".encode()
    a, b, c, d = _FOUR.unpack(hashlib.blake2b(text, digest_size=32).digest())
    return Throw(a * _SCALE, b * _SCALE, c * _SCALE, d * _SCALE)


def delay(latency: Latency, chance: Throw) -> float:
    """Return the seconds until the answer."""
    milliseconds = latency.base_ms + latency.jitter_ms * chance.jitter
    if chance.tail < latency.tail_share:
        size = min(max(chance.size, 1e-9), 1 - 1e-9)  # the normal quantile is infinite at both ends
        tail = latency.tail_median_ms * math.exp(latency.tail_sigma * _NORMAL.inv_cdf(size))
        milliseconds = max(milliseconds, tail)
    return milliseconds / 1000
