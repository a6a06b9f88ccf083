"""The simulator's own stalls."""

import asyncio
import math
import time

from simulator.lag import LagMeter


async def test_a_stall_is_a_span() -> None:
    """A loop that is held up leaves a closed span around the stall."""
    meter = LagMeter()
    meter.start(lambda: None)
    await meter.settled()
    begin = time.monotonic()
    time.sleep(0.05)  # noqa: ASYNC251 - the stall
    end = time.monotonic()
    await meter.settled()
    while meter.spans[-1][1] == math.inf:
        await meter.settled()
    meter.stop()
    assert meter.worst > 0.03
    assert any(start <= begin + 0.003 and end <= stop for start, stop in meter.spans)


async def test_a_reset_forgets() -> None:
    """After a reset there are no spans and no worst lag from before."""
    meter = LagMeter()
    meter.start(lambda: None)
    time.sleep(0.05)  # noqa: ASYNC251 - the stall
    await meter.settled()
    assert meter.spans
    before = meter.worst
    meter.reset()
    assert (meter.spans, meter.worst) == ([], 0.0)
    await asyncio.sleep(0)
    meter.stop()
    assert before > 0.03


async def test_the_review_is_called() -> None:
    """Arrivals are judged as time goes by, without anybody asking."""
    meter = LagMeter()
    called = asyncio.Event()
    meter.start(called.set)
    async with asyncio.timeout(10):
        await called.wait()
    meter.stop()
