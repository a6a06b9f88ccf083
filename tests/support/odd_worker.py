"""A worker with a fault of the test's choice: `python -m tests.support.odd_worker FAULT`.

The worker is the real one; before it starts, one of its parts is replaced by one that fails. So no code of ours has a
switch for it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from otpreport import Verification
from providers.base import Answer, SignedRequest
from providers.registry import REGISTRY
from providers.tencent import Tencent
from tasks.delivery import Held
from tasks.limiter.admission import RateGroup
from tasks.queue.breaker import CallBuckets
from tasks.queue.queue import Batch, Queue
from tasks.settlement import Settlement
from worker.http.hearing import Cancel, Then

AFTER = 40
"""At the named points a worker dies once so many events have passed."""

LETHAL = "lethal"
"""Events whose ids begin so kill their worker."""


def die() -> None:
    """End this process as a crash would."""
    os.kill(os.getpid(), signal.SIGKILL)


class _Countdown:
    """Die at the first chance after so many events."""

    def __init__(self, events: int = AFTER) -> None:
        self._left = events

    def pass_by(self, events: int) -> None:
        self._left -= events
        if events and self._left <= 0:
            die()


_countdown = _Countdown()


class _LethalTencent(Tencent):
    """Signing certain events kills the process, as a fault in native code would."""

    def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
        if event.message_id.startswith(LETHAL):
            die()
        return super().request(event, now=now, nonce=nonce)


class _DiesAfterLease(Queue):
    async def lease(self, *args: Any, **options: Any) -> Batch:
        batch = await super().lease(*args, **options)
        _countdown.pass_by(len(batch.leased))
        return batch


class _DiesBeforeSettle(Queue):
    async def settle(
        self,
        settlements: Sequence[tuple[Held, Settlement]],
        call: int,
        calls: CallBuckets | None = None,
    ) -> list[bool | None]:
        _countdown.pass_by(len(settlements))
        return await super().settle(settlements, call, calls)


class _DiesAfterSettle(Queue):
    async def settle(
        self,
        settlements: Sequence[tuple[Held, Settlement]],
        call: int,
        calls: CallBuckets | None = None,
    ) -> list[bool | None]:
        flags = await super().settle(settlements, call, calls)
        _countdown.pass_by(len(settlements))
        return flags


def _lethal() -> None:
    REGISTRY["tencent"] = _LethalTencent


def _with_queue(queue: type[Queue]) -> Callable[[], None]:
    def replace() -> None:
        from worker import runtime

        setattr(runtime, "Queue", queue)  # noqa: B010 - the fault replaces what the runtime builds with

    return replace


def _around_send(*, before: bool) -> Callable[[], None]:
    def replace() -> None:
        from worker.http import client as http

        class Dying(http.OwnClient):
            def start(self, signed: SignedRequest, send_by: float, then: Then, /) -> Cancel:
                def told(answer: Answer | Exception) -> None:
                    if not before:
                        _countdown.pass_by(1)
                    then(answer)

                if before:
                    _countdown.pass_by(1)
                return super().start(signed, send_by, told)

        setattr(http, "OwnClient", Dying)  # noqa: B010 - the fault replaces what the runtime sends with

    return replace


def _too_fast() -> None:
    """Grant twice as many slots as the limit."""
    RateGroup.headroom = property(lambda _: -0.5)  # type: ignore[assignment,method-assign]  # that is the fault


def _keeps_its_keys() -> None:
    """Never look at the files again."""
    from config.watch import Watch

    class Blind(Watch):
        def look(self) -> None:
            return None

    setattr(Watch, "look", Blind.look)  # noqa: B010 - the fault


def _waits_for_its_reader() -> None:
    """Write to the outputs themselves, as any program does."""
    from config import output

    setattr(output, "take_over", lambda: None)  # noqa: B010 - the fault


def _impatient() -> None:
    """Be not ready after a second without a way out, not after half a minute."""
    from tasks.accounts import reach

    setattr(reach, "NOT_READY_AFTER", 1.0)  # noqa: B010 - the fault


def _never_hears_of_a_loss() -> None:
    """Ask Redis for no loss of its memory."""
    from tasks.fleet.epoch import Heartbeat

    async def beat(_: Heartbeat, operator_states: str = "") -> None:
        """Find nothing."""

    setattr(Heartbeat, "beat", beat)  # noqa: B010 - the fault


KILLS: Mapping[str, Callable[[], None]] = {
    "after-lease": _with_queue(_DiesAfterLease),
    "before-send": _around_send(before=True),
    "after-answer": _around_send(before=False),
    "before-settle": _with_queue(_DiesBeforeSettle),
    "after-settle": _with_queue(_DiesAfterSettle),
}
"""The worker dies at a named point."""

FAULTS: Mapping[str, Callable[[], None]] = {
    **KILLS,
    "lethal": _lethal,
    "too-fast": _too_fast,
    "keeps-its-keys": _keeps_its_keys,
    "waits-for-its-reader": _waits_for_its_reader,
    "impatient": _impatient,
    "never-hears-of-a-loss": _never_hears_of_a_loss,
}


def main() -> None:
    """Put the fault in, then run the worker as `otpreport run` does."""
    FAULTS[sys.argv.pop(1)]()
    sys.argv.append("run")
    from worker.cli.app import main as worker_main

    worker_main()


if __name__ == "__main__":
    main()
