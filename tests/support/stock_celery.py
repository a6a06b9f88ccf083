"""What anybody's Celery app looks like: the stock transport, a task named as ours."""

import os
from typing import Any

from celery import Celery

from tests.support.admin import admin

app = Celery("stock", broker=os.environ.get("STOCK_BROKER", "memory://"))
app.conf.task_default_queue = "otpreport.tencent"
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_hijack_root_logger = False


@app.task(name="otpreport.report")
def report(event: dict[str, Any]) -> None:
    """Leave what arrived where the test finds it."""
    with admin(int(os.environ["STOCK_PORT"])) as server:
        server.rpush("seen", f"{event['message_id']} {event['occurred_at']} {event['verified']}")
