"""The last attempt of each account that failed, as one worker knows it until Redis does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from providers.base import Outcome


@dataclass(frozen=True, slots=True)
class LastError:
    """What went wrong, and when on the local monotonic clock, in seconds."""

    at: float
    result: str
    code: str
    message: str


class LastErrors:
    """Keep each account's last failure until Presence takes it to write it to Redis."""

    def __init__(self) -> None:
        self._fresh: dict[str, LastError] = {}

    def note(self, account: str, outcome: Outcome) -> None:
        """Note that an attempt of the account failed."""
        self._fresh[account] = LastError(time.monotonic(), outcome.result, outcome.code, outcome.message)

    def take(self) -> Mapping[str, LastError]:
        """Return the failures noted since the last call."""
        taken, self._fresh = self._fresh, {}
        return taken

    def put_back(self, taken: Mapping[str, LastError]) -> None:
        """Put back failures that could not be written; a newer one stays."""
        self._fresh = {**taken, **self._fresh}
