"""Operators' changes: an account's state, a rate group's rate."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, cast

from tasks.accounts.states import STORED, UNKNOWN, WORDS, State
from tasks.keys import Keys
from tasks.script import text_of

if TYPE_CHECKING:
    from redis import Redis


class Mode(enum.StrEnum):
    """How an account is degraded: its events wait, or they are acknowledged, counted and not sent."""

    WAIT = "wait"
    SHED = "shed"

    @property
    def state(self) -> str:
        """The account's state then, one of `tasks.accounts.states.NAMES`."""
        return "paused" if self is Mode.WAIT else "shedding"

    @property
    def stored(self) -> str:
        """That state's word in Redis."""
        return WORDS[self.state]


class Operation:
    """Change what all workers share, at once; every call raises `redis.RedisError` when Redis is away."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._keys = keys
        self._script = client.register_script(text_of("fleet/operate.lua"))
        self._override = client.register_script(text_of("fleet/override.lua"))

    def pause(self, account: str, mode: Mode, *, by: str, why: str) -> State:
        """Degrade an account until it is resumed; return its state before."""
        return self._operate(account, mode.stored, by, why)

    def resume(self, account: str, *, keep_going_by: str = "") -> State:
        """Run an account at its full rate, from any state; return its state before.

        With `keep_going_by`, the operator's name, no run of refusals stops it until it is resumed without.
        """
        return self._operate(account, "running", keep_going_by, "", keep_going=bool(keep_going_by))

    def limit(self, group: str, rate: int | None, *, by: str, why: str = "") -> int | None:
        """Limit a group to `rate` requests/s; None removes the limit. Return the limit before."""
        before = cast(
            "bytes", self._override([self._keys.rate(group)], ["" if rate is None else rate, by, why])
        )
        return int(before) if before else None

    def _operate(self, account: str, state: str, by: str, why: str, *, keep_going: bool = False) -> State:
        keys = [self._keys.account(account), self._keys.breaker(account)]
        reply = cast("list[bytes]", self._script(keys, [state, by, why, int(keep_going)]))
        name, code, message = (value.decode(errors="backslashreplace") for value in reply)
        return State(STORED.get("" if name == "running" else name, UNKNOWN), code, message)
