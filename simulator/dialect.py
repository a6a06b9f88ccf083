"""What the cloud asks of each provider."""

from __future__ import annotations

from typing import Protocol

from simulator.reply import Reply
from simulator.request import Call, Request
from simulator.settings import Key


class Dialect(Protocol):
    """One provider's way of being called and of answering; checks raise RefusedError."""

    @property
    def throttled(self) -> str:
        """The code of a call above the rate."""
        ...

    @property
    def says_when(self) -> bytes:
        """Where its answer to a call above the rate can name a time: `x-acs-retry-after`, `retry-after` or nowhere."""
        ...

    @property
    def replayed(self) -> str:
        """The code of a nonce that was used before; empty where calls have none."""
        ...

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for this provider, by its headers and its path alone."""
        ...

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        ...

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        ...

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls. `now`: UNIX seconds."""
        ...

    def validate(self, call: Call, now: float) -> None:
        """Check what is said. `now`: UNIX seconds."""
        ...

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        ...

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with an error, in the form that belongs to its code."""
        ...

    def inner_error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status inside that is not OK."""
        ...
