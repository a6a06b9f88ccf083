"""The kombu transport of a worker: its messages come from the engine's leases, not from BRPOP.

kombu's own Redis transport pops a message and writes down afterwards that it did: a worker that dies in between loses
it. Here a message that Celery gets to see is already leased to this worker, atomically, and stays so until it is
settled; kombu acknowledges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from kombu.message import Message as KombuMessage
from kombu.transport import virtual

from otpreport.wire import TASK, queue_name
from worker.bridge.hub import keep_awake

if TYPE_CHECKING:
    from tasks.delivery import Delivery
    from worker.bridge.handover import Bridge


class Message(KombuMessage):
    """Leased deliveries of one queue in the shape Celery's consumer reads; their events are decoded already.

    Its way through the consumer costs as much as all else that is done with an event in Python before it is sent, so
    those that were leased together go together.
    """

    def __init__(self, deliveries: Sequence[Delivery], channel: Any) -> None:
        super().__init__(
            body="",
            delivery_tag=deliveries[0].tag,
            content_type="application/json",
            content_encoding="utf-8",
            headers={"task": TASK, "id": deliveries[0].tag},
            channel=channel,
        )
        self.deliveries = deliveries


class QoS(virtual.QoS):
    """No prefetch count: the engine leases no more than it can use, and settles finished events."""

    def append(self, message: Any, delivery_tag: Any) -> None:
        """Leave the message to its lease."""

    def ack(self, delivery_tag: Any) -> None:
        """Leave the message to its lease."""

    def reject(self, delivery_tag: Any, requeue: bool = False) -> None:
        """Leave the message to its lease: at the worker's end it goes back into the queue."""

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Leave the messages to their leases."""


class Channel(virtual.Channel):
    """A channel that consumes what the engine leased; queues and exchanges live in this process alone."""

    QoS: type[virtual.QoS] = QoS
    do_restore = False

    def basic_consume(
        self,
        queue: str,
        no_ack: bool,
        callback: Callable[..., Any] | None,
        consumer_tag: str | None,
        **kwargs: Any,
    ) -> str:
        """Consume a queue: from now on the engine leases from it."""
        tag = super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        if callback is not None:
            self._transport.consume(queue, lambda deliveries: callback(Message(deliveries, self)))
        return tag

    def message_to_python(self, raw_message: Any) -> Any:
        """Return the message: it needs no reading."""
        return raw_message

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop consuming: the engine stops leasing from the queue."""
        super().basic_cancel(consumer_tag)
        self._transport.serve()

    @property
    def _transport(self) -> Transport:
        return cast("Transport", self.connection)

    def _put(self, queue: str, message: Any, **_: Any) -> None:
        raise NotImplementedError(
            "a worker sends nothing: use otpreport.Reporter, or a Celery app of your own"
        )

    def _purge(self, queue: str) -> int:
        raise NotImplementedError("waiting events are not purged: they were verified")


class Transport(virtual.Transport):
    """The connection between Celery's consumer and the engine; it has none to Redis, so it can't be lost."""

    Channel = Channel
    driver_type = "otpreport"
    driver_name = "otpreport"
    can_parse_url = True
    implements = virtual.Transport.implements.extend(asynchronous=True)

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)
        self._bridge: Bridge = client.transport_options["bridge"]
        self._redis: str = client.transport_options["redis"]

    def as_uri(self, uri: str, include_password: bool = False, mask: str = "**") -> str:
        """Return Redis' address for the banner: where the events of this worker come from."""
        return self._redis

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Take messages from the engine on Celery's hub."""
        keep_awake(loop)
        self._bridge.attach_hub(loop, self._consume)

    def consume(self, queue: str, callback: Callable[[Sequence[Delivery]], object]) -> None:
        """Pass the events leased from a queue to `callback`."""
        self._consumers[queue] = callback
        self.serve()

    def serve(self) -> None:
        """Pass the accounts whose queues have a consumer to the engine."""
        prefix = queue_name("")
        self._bridge.serve(frozenset(queue.removeprefix(prefix) for queue in self._consumers))

    @property
    def _consumers(self) -> dict[str, Callable[[Sequence[Delivery]], object]]:
        """The dict of kombu's own, which it clears when a consumer is cancelled."""
        return cast("dict[str, Callable[[Sequence[Delivery]], object]]", self._callbacks)

    def _consume(self, queue: str, deliveries: Sequence[Delivery]) -> bool:
        callback = self._consumers.get(queue)
        if callback is None:
            return False
        callback(deliveries)
        return True

    def driver_version(self) -> str:
        """Say nothing: the driver is this project."""
        return ""
