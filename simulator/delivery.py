"""How an answer leaves: in time or late, whole or spoilt, or not at all."""

from __future__ import annotations

import asyncio

from simulator.clock import Clock
from simulator.connection import Exchange
from simulator.plan import Fault
from simulator.reply import CHALLENGE, EMPTY, UNAVAILABLE, WEB_PAGE, Reply, encode

_PAGES = {"challenge": CHALLENGE, "unavailable": UNAVAILABLE, "html": WEB_PAGE, "empty": EMPTY}
_SILENT = frozenset({"close", "hang", "lost", "reset"})


class Delivery:
    """Send answers as the plan has it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def post(self, exchange: Exchange, reply: Reply, fault: Fault | None, pause: float) -> None:
        """Send an answer after `pause` seconds, or after what the fault says instead."""
        if fault is not None and fault.delay_ms is not None and fault.kind != "drip":
            pause = fault.delay_ms / 1000
        if pause:
            asyncio.get_running_loop().call_later(pause, self._send, exchange, reply, fault)
        else:
            self._send(exchange, reply, fault)

    def _send(self, exchange: Exchange, reply: Reply, fault: Fault | None) -> None:
        if exchange.gone:
            return
        if fault is None:
            exchange.reply(self._encode(reply, exchange))
        elif fault.kind in _SILENT or (
            fault.kind == "truncated" and not reply.body
        ):  # half of nothing is all
            _end_silently(exchange, fault)
        elif fault.kind == "drip":
            exchange.drip(self._encode(reply, exchange), (fault.delay_ms or 0) / 1000)
        else:
            exchange.reply(self._encode(_spoilt(reply, fault), exchange))

    def _encode(self, reply: Reply, exchange: Exchange) -> bytes:
        date = self._clock.date(asyncio.get_running_loop().time())
        return encode(reply, date, keep_alive=exchange.keep_alive)


def _end_silently(exchange: Exchange, fault: Fault) -> None:
    if fault.kind == "reset":
        exchange.reset()
    elif fault.kind != "hang":
        exchange.close()


def _spoilt(reply: Reply, fault: Fault) -> Reply:
    if fault.kind == "truncated":
        return reply._replace(body=reply.body[: len(reply.body) // 2])
    return _PAGES.get(fault.kind, reply)
