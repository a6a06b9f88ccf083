"""Measure the simulator: CPU per call, signatures checked, under a bare asyncio client.

Run: python -m benchmarks.simulator_load [--rate 3000] [--seconds 8] [--connections 200] [--latency-ms 50]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import deque
from urllib.parse import urlsplit

from benchmarks.usage import cpu_seconds, resident_megabytes
from tests.support.calls import ALIBABA_KEY, TENCENT_KEY, alibaba_call, tencent_call
from tests.support.simulator import SimulatorProcess


class Client(asyncio.Protocol):
    """A connection with at most one call in flight."""

    def __init__(self, idle: deque[Client]) -> None:
        self._idle = idle
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a call."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._idle.append(self)

    def data_received(self, data: bytes) -> None:
        """Be ready for the next; the simulator writes an answer in one piece."""
        del data
        self._idle.append(self)

    def send(self, call: bytes) -> None:
        """Send a call."""
        self._transport.write(call)

    def close(self) -> None:
        """End the connection."""
        self._transport.close()


async def offer(url: str, calls: list[bytes], rate: int, connections: int) -> float:
    """Send the calls at `rate` a second; return the seconds it took."""
    loop = asyncio.get_running_loop()
    parts = urlsplit(url)
    idle: deque[Client] = deque()
    clients = [
        (await loop.create_connection(lambda: Client(idle), parts.hostname or "", parts.port or 0))[1]
        for _ in range(connections)
    ]
    start, sent = loop.time(), 0
    while sent < len(calls):
        due = min(int((loop.time() - start) * rate), len(calls))
        while sent < due and idle:
            idle.popleft().send(calls[sent])
            sent += 1
        await asyncio.sleep(0.002)
    while len(idle) < connections:  # noqa: ASYNC110 - an event would cost the client more
        await asyncio.sleep(0.002)
    for client in clients:
        client.close()
    return loop.time() - start


def main() -> None:
    """Print one line for an idle simulator, and one for each provider."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=3000)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--latency-ms", type=float, default=50)
    options = parser.parse_args()
    keys = [key | {"rate": 1_000_000} for key in (TENCENT_KEY, ALIBABA_KEY)]
    plan = {"latency": {"base_ms": options.latency_ms}}
    with SimulatorProcess({"keys": keys, "plan": plan}) as simulator:
        before = cpu_seconds(simulator.pid)
        time.sleep(3)
        print(f"idle: {(cpu_seconds(simulator.pid) - before) / 3:.2%} of a core")
        for build in (tencent_call, alibaba_call):
            calls = [build(f"load-{n}").encode() for n in range(options.rate * options.seconds)]
            simulator.reset()
            before = cpu_seconds(simulator.pid)
            seconds = asyncio.run(offer(simulator.url, calls, options.rate, options.connections))
            cpu = cpu_seconds(simulator.pid) - before
            summary = simulator.summary()
            lag = summary["lag"]
            print(
                f"{build.__name__}: {len(calls) / seconds:.0f}/s, {cpu / len(calls) * 1e6:.0f} us CPU each, "
                f"{cpu / seconds:.0%} of a core, taken {summary['taken']}, "
                f"lag max {lag['max'] * 1e3:.1f} ms, late {lag['late_seconds']:.2f} s, "
                f"{resident_megabytes(simulator.pid):.0f} MB"
            )


if __name__ == "__main__":
    main()
