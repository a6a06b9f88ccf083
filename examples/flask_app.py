"""A login by SMS code with Flask: flask --app examples/flask_app.py run

OTPREPORT_REDIS_URL says where Redis is. Try it:
    curl -d phone=123 localhost:5000/code; curl -d 'phone=123&code=...' localhost:5000/login
"""

import os
from datetime import UTC, datetime

from flask import Flask, abort, request
from sms import SentCode, send_code

from otpreport import Dispatch, Reporter, Verification

app = Flask(__name__)
reporter = Reporter(
    os.environ.get("OTPREPORT_REDIS_URL", "redis://127.0.0.1:6379/0"),
    accounts=["tencent", "alibaba"],
    tracking=True,
)
codes: dict[str, SentCode] = {}  # a real app keeps them in its sessions


@app.post("/code")
def request_code() -> dict[str, str]:
    phone = request.form["phone"]
    codes[phone] = sent = send_code(phone)
    reporter.report(
        Dispatch(account="tencent", message_id=sent.message_id, sent_at=sent.sent_at, country="SG")
    )
    return {"status": "sent"}


@app.post("/login")
def login() -> dict[str, str]:
    phone = request.form["phone"]
    sent = codes.get(phone)
    if sent is None or sent.code != request.form["code"]:
        abort(403, "wrong code")
    del codes[phone]
    event = Verification(
        account="tencent", message_id=sent.message_id, sent_at=sent.sent_at, occurred_at=datetime.now(UTC)
    )
    reporter.report(event)
    return {"status": "welcome"}
