"""An app that imports otpreport, and makes its Reporter, before it is monkey-patched.

    python -m tests.support.green_app URL SPOOL gevent|eventlet|threads [unnoticed]

`threads` patches nothing, but takes `select.poll` away, as eventlet does. `unnoticed` is the control. Prints how many
events got a receipt, and whether one took five times its budget.
"""

from __future__ import annotations

import importlib
import select
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

from otpreport import Receipt, Reporter, Verification, forks

BUDGET = 0.5
EVENTS = 60


def patch(kind: str) -> None:
    """Patch as the library of that name does."""
    if kind == "gevent":
        monkey: Any = importlib.import_module("gevent.monkey")
        monkey.patch_all()
    elif kind == "eventlet":
        eventlet: Any = importlib.import_module("eventlet")
        eventlet.monkey_patch()
    else:
        del select.poll


def main(url: str, spool: str, kind: str, *control: str) -> None:
    """Report from many threads at once: greenlets, where threads are patched."""
    reporter = Reporter(url, spool=spool, timeout=BUDGET)
    patch(kind)
    if control:
        forks._locks[0] = threading.Lock  # pyright: ignore[reportPrivateUsage]
    receipts: list[Receipt] = []
    seconds: list[float] = []

    def work(number: int) -> None:
        event = Verification(account="tencent", message_id=str(number), occurred_at=datetime.now(UTC))
        start = time.monotonic()
        receipts.append(reporter.report(event))
        seconds.append(time.monotonic() - start)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(EVENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    kept = sum(receipt.status in {"queued", "spooled"} for receipt in receipts)
    print(kept, max(seconds) < 5 * BUDGET, flush=True)
    sys.stdin.read()  # what was spooled is forwarded meanwhile


if __name__ == "__main__":
    main(*sys.argv[1:])
