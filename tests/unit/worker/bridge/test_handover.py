"""The bridge between Celery's hub and the asyncio loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tasks.delivery import Delivery
from tests.support.leased import delivery, event
from worker.bridge.handover import Bridge


class Hub:
    """Celery's hub: what it was to do is done when the test says so, at its end, too."""

    def __init__(self) -> None:
        self._due: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        """Put a call off."""
        self._due.append(call)

    def close(self) -> None:
        """Do what is left, as kombu's hub does."""
        for call in self._due:
            call()


class Loop:
    """An asyncio loop that counts what it is given, and refuses once it is closed."""

    def __init__(self) -> None:
        self.calls = 0
        self.closed = False

    def call_soon_threadsafe(self, *_: object) -> None:
        """Take a call from another thread."""
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.calls += 1


class Engine:
    """An engine that is only told whom it serves."""

    def serve(self, accounts: object) -> None:
        """Serve nobody."""

    def start(self, deliveries: object) -> None:
        """Report nothing."""

    def give_back(self, *deliveries: object) -> None:
        """Take nothing back."""


def bridged(*, consumes: bool) -> tuple[Bridge, Hub, Loop]:
    """Return a bridge between the twins, its consumer taking what it gets or not."""
    bridge, hub, loop = Bridge(), Hub(), Loop()

    def consume(_: str, deliveries: Sequence[Delivery]) -> bool:
        if consumes:
            bridge.receive(deliveries)
        return consumes

    bridge.attach_hub(hub, consume)
    bridge.attach_engine(Engine(), loop)  # type: ignore[arg-type]  # twins
    return bridge, hub, loop


def test_batches() -> None:
    """What the consumer takes wakes the loop once for many; what it does not take goes back by queue."""
    for consumes, wakes in ((True, 1), (False, 2)):
        bridge, hub, loop = bridged(consumes=consumes)
        bridge.hand_over([delivery(event(account=account)) for account in ("tencent", "alibaba", "tencent")])
        hub.close()
        assert loop.calls == wakes


def test_left_over_at_the_end() -> None:
    """What Celery's hub was still to hand over when the loop closed raises nothing: the engine gave it back."""
    for consumes in (True, False):
        bridge, hub, loop = bridged(consumes=consumes)
        bridge.hand_over([delivery()])
        bridge.detach_engine()
        loop.closed = True
        hub.close()
        assert not loop.calls


def test_accounts_named_while_the_engine_comes() -> None:
    """The hub's thread may name others while the engine is told of those it had named: the last word holds."""
    bridge, served = Bridge(), list[object]()

    class Late(Engine):
        """An engine that is told of its accounts when others are named already."""

        def serve(self, accounts: object) -> None:
            if not served:
                served.append(accounts)
                bridge.serve(frozenset({"alibaba"}))
            served.append(accounts)

    bridge.serve(frozenset({"tencent"}))
    bridge.attach_engine(Late(), Loop())  # type: ignore[arg-type]  # twins
    assert served[-1] == {"alibaba"}
