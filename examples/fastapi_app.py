"""A login by SMS code with FastAPI: uvicorn --app-dir examples fastapi_app:app

OTPREPORT_REDIS_URL says where Redis is. Try it:
    curl -d phone=123 localhost:8000/code; curl -d 'phone=123&code=...' localhost:8000/login
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from sms import SentCode, send_code

from otpreport import Dispatch, Reporter, Verification

reporter = Reporter(
    os.environ.get("OTPREPORT_REDIS_URL", "redis://127.0.0.1:6379/0"),
    accounts=["tencent", "alibaba"],
    tracking=True,
)
codes: dict[str, SentCode] = {}  # a real app keeps them in its sessions


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    reporter.warm_up()
    with reporter:
        yield


app = FastAPI(lifespan=lifespan)


async def form(request: Request) -> dict[str, str]:
    fields = parse_qs((await request.body()).decode())
    return {name: values[0] for name, values in fields.items()}


@app.post("/code")
async def request_code(request: Request) -> dict[str, str]:
    phone = (await form(request))["phone"]
    codes[phone] = sent = send_code(phone)
    await reporter.areport(
        Dispatch(account="tencent", message_id=sent.message_id, sent_at=sent.sent_at, country="SG")
    )
    return {"status": "sent"}


@app.post("/login")
async def login(request: Request) -> dict[str, str]:
    fields = await form(request)
    sent = codes.get(fields["phone"])
    if sent is None or sent.code != fields["code"]:
        raise HTTPException(403, "wrong code")
    del codes[fields["phone"]]
    event = Verification(
        account="tencent", message_id=sent.message_id, sent_at=sent.sent_at, occurred_at=datetime.now(UTC)
    )
    await reporter.areport(event)
    return {"status": "welcome"}
