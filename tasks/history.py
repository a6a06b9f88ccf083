"""The attempts of an event so far; stored with the event, and in the end in its dead letter."""

from __future__ import annotations

from dataclasses import dataclass, replace

import orjson

from providers.base import Outcome, Result

LONGEST_TEXT = 1000
"""Characters that are kept of each text in an answer; they are stored with the event for each attempt."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request that was sent, or tried to be, and did not end the event."""

    at_ms: int
    result: Result
    code: str
    message: str
    request_id: str
    duration_ms: int

    @classmethod
    def of(cls, outcome: Outcome, *, at_ms: int, seconds: float) -> Attempt:
        """Return what an outcome leaves in the history."""
        code, message, request_id = (
            text[:LONGEST_TEXT] for text in (outcome.code, outcome.message, outcome.request_id)
        )
        return cls(at_ms, outcome.result, code, message, request_id, round(seconds * 1000))


@dataclass(frozen=True, slots=True)
class Unsent:
    """How often in a row nothing could leave the machine, when last, and why; no attempt is used by it."""

    times: int
    at_ms: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class History:
    """The failed attempts of an event, oldest first, and when an operator replayed it.

    `doubted`: an attempt that is not listed, as of before the replay or of a probe, may have been taken. `unsent` is
    what kept the event from leaving since the last attempt; beside the attempts, for older workers know no such class.
    """

    attempts: tuple[Attempt, ...] = ()
    replayed_ms: int | None = None
    doubted: bool = False
    unsent: Unsent | None = None

    @property
    def in_doubt(self) -> bool:
        """Whether the provider may have taken a report whose answer was lost."""
        return self.doubted or any(attempt.result is Result.UNKNOWN for attempt in self.attempts)

    @property
    def doubtful(self) -> int:
        """How many attempts ended with a code that may be final."""
        return sum(attempt.result is Result.DOUBTFUL for attempt in self.attempts)

    @property
    def last(self) -> Attempt | Unsent | None:
        """What became of it last: what kept it from leaving, else the last attempt."""
        return self.unsent or (self.attempts[-1] if self.attempts else None)

    def plus(self, attempt: Attempt) -> History:
        """Return the history with one more attempt."""
        return replace(self, attempts=(*self.attempts, attempt), unsent=None)

    def with_unsent(self, outcome: Outcome, *, at_ms: int) -> History:
        """Return the history with one more try that could not leave this machine; it uses no attempt."""
        times = self.unsent.times + 1 if self.unsent else 1
        return replace(self, unsent=Unsent(times, at_ms, outcome.code, outcome.message))

    def encode(self) -> bytes:
        """Return one line of JSON; nothing for an event without a history."""
        if self == NO_HISTORY:
            return b""
        rows = [[a.at_ms, a.result, a.code, a.message, a.request_id, a.duration_ms] for a in self.attempts]
        data: dict[str, object] = {"attempts": rows, "replayed_ms": self.replayed_ms, "doubted": self.doubted}
        if (last := self.unsent) is not None:
            data["unsent"] = [last.times, last.at_ms, last.code, last.message]
        return orjson.dumps(data)

    @classmethod
    def decode(cls, line: bytes) -> History:
        """Read what `encode` wrote."""
        if not line:
            return NO_HISTORY
        data = orjson.loads(line)
        attempts = tuple(
            Attempt(at_ms, Result(result), code, message, request_id, duration_ms)
            for at_ms, result, code, message, request_id, duration_ms in data["attempts"]
        )
        unsent = data.get("unsent")
        return cls(
            attempts, data["replayed_ms"], data.get("doubted", False), Unsent(*unsent) if unsent else None
        )


NO_HISTORY = History()
