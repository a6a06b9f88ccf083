"""Which planned fault meets an arrival."""

from __future__ import annotations

import fnmatch
import re

from simulator.plan import Fault
from simulator.request import Call


class FaultTable:
    """The plan's faults, ready to be matched."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._faults = [(fault, re.compile(fnmatch.translate(fault.message_id)).match) for fault in faults]

    def pick(self, call: Call, arrival: int, elapsed: float, chance: float) -> Fault | None:
        """Return the fault that meets the nth arrival of an id `elapsed` seconds into the plan, or None.

        `chance` in [0, 1) falls into one of the shares laid end to end, or behind them.
        """
        edge = 0.0
        for fault, matches in self._faults:
            if _concerns(fault, call, arrival, elapsed) and matches(call.message_id):
                edge += fault.share
                if chance < edge:
                    return fault
        return None


def _concerns(fault: Fault, call: Call, arrival: int, elapsed: float) -> bool:
    return (
        (fault.provider is None or fault.provider == call.provider)
        and (fault.key is None or fault.key == call.key)
        and (fault.arrivals is None or arrival <= fault.arrivals)
        and fault.from_s <= elapsed
        and (fault.to_s is None or elapsed < fault.to_s)
    )
