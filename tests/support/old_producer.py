"""A stock Celery app of any version as a producer: python old_producer.py URL PROTOCOL."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta, timezone

from celery import Celery

MOMENT = datetime(2026, 5, 1, 20, 0, 0, 113_000, timezone(timedelta(hours=8)))
EVENT = {"account": "tencent", "message_id": "2640:1", "occurred_at": MOMENT, "sent_at": MOMENT}

if __name__ == "__main__":
    app = Celery("producer", broker=sys.argv[1], set_as_current=False)
    app.conf.task_protocol = int(sys.argv[2])
    app.send_task("otpreport.report", kwargs={"event": EVENT}, queue="otpreport.tencent", countdown=100)
