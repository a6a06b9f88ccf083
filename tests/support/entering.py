"""Enter an admission and wait for what comes of it."""

from __future__ import annotations

import asyncio

from tasks.delivery import Delivery
from tasks.limiter.admission import Admission, Refusal, Slot


async def entered(admission: Admission, delivery: Delivery) -> Slot | Refusal:
    """Return the delivery's slot once it has come, or why it may not go; cancelled, it waits no longer."""
    told: asyncio.Future[Slot | Refusal] = asyncio.get_running_loop().create_future()
    admission.enter(delivery, told.set_result)
    try:
        return await told
    except asyncio.CancelledError:
        admission.withdraw(delivery)
        slot = None if told.cancelled() else told.result()
        if isinstance(slot, Slot) and slot.permit is not None:
            slot.permit.end()
        raise
