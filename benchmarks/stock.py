"""What people would otherwise run: a stock Celery app on the stock `redis://` transport, tuned.

    celery -A benchmarks.stock worker -P threads|gevent|prefork

It reports the same events with the same signatures, but holds no rate, remembers nothing, counts nothing.
"""

from __future__ import annotations

import importlib
import os
import secrets
import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

import httpx
from celery import Celery

from benchmarks.accounts import APP, SECRET, Account
from otpreport import Verification
from otpreport.wire import TASK, queue_name
from providers.base import Answer, Result
from providers.tencent import Tencent, TencentOptions

CONCURRENCY = int(os.environ.get("BENCHMARK_CONCURRENCY", "100"))
ENDPOINT = os.environ.get("BENCHMARK_ENDPOINT", "http://127.0.0.1:1")
KEY = Account().key

app = Celery("stock", broker=os.environ.get("BENCHMARK_REDIS", "memory://"), set_as_current=False)
app.conf.update(
    task_default_queue=queue_name("tencent"),
    task_acks_late=True,
    task_ignore_result=True,
    task_store_errors_even_if_ignored=False,
    result_backend_thread_safe=True,
    worker_disable_rate_limits=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    # without max_connections acks fail under gevent (celery#1350); one list instead of four costs 6 % less
    broker_transport_options={"max_connections": 2 * CONCURRENCY, "priority_steps": [0]},
)

_tencent = Tencent(
    ENDPOINT, TencentOptions.model_validate({"secret_id": KEY, "secret_key": SECRET, "sdk_app_id": APP})
)
_own = threading.local()


def _client() -> httpx.Client:
    limits = httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY)
    return httpx.Client(limits=limits, timeout=15.0, trust_env=False)


@cache
def _shared() -> httpx.Client:
    return _client()


def _threads_own() -> httpx.Client:
    if not hasattr(_own, "client"):
        _own.client = _client()
    client: httpx.Client = _own.client
    return client


def _post(client: httpx.Client, event: Verification) -> None:
    signed = _tencent.request(event, now=time.time(), nonce=secrets.token_hex(16))
    response = client.post(signed.url, headers=signed.headers, content=signed.body)
    outcome = _tencent.outcome(Answer(response.status_code, response.headers, response.content), event)
    if outcome.result is not Result.DELIVERED:
        raise RuntimeError(outcome.code)


@cache
def _sdk() -> tuple[Any, Any]:
    """Return the official SDK's client, one for each process, with keep-alive, and its models."""
    profile: Any = importlib.import_module("tencentcloud.common.profile.client_profile")
    http: Any = importlib.import_module("tencentcloud.common.profile.http_profile")
    credential: Any = importlib.import_module("tencentcloud.common.credential")
    sms: Any = importlib.import_module("tencentcloud.sms.v20210111.sms_client")
    models: Any = importlib.import_module("tencentcloud.sms.v20210111.models")
    http_profile = http.HttpProfile(protocol="http", endpoint=urlsplit(ENDPOINT).netloc, keepAlive=True)
    client_profile = profile.ClientProfile(httpProfile=http_profile, language="en-US")
    return sms.SmsClient(credential.Credential(KEY, SECRET), "ap-singapore", client_profile), models


def _through_sdk(event: Verification) -> None:
    client, models = _sdk()
    request = models.ReportConversionRequest()
    request.SmsSdkAppId, request.SerialNo = APP, event.message_id
    request.ConversionTime = event.occurred_at_ms // 1000
    answer = client.ReportConversion(request)
    if answer.ReportConversionStatus.Code.lower() != "ok":
        raise RuntimeError(answer.ReportConversionStatus.Code)


SENDERS: dict[str, Callable[[Verification], None]] = {
    "shared": lambda event: _post(_shared(), event),
    "own": lambda event: _post(_threads_own(), event),
    "sdk": _through_sdk,
}
_send = SENDERS[os.environ.get("BENCHMARK_SENDER", "shared")]


@app.task(name=TASK)
def report(event: dict[str, object]) -> None:
    """Report one event; what fails stays in the log."""
    _send(Verification.from_wire(event))
