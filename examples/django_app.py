"""A login by SMS code with Django, in one file: python examples/django_app.py runserver

OTPREPORT_REDIS_URL says where Redis is. Try it:
    curl -d phone=123 localhost:8000/code; curl -d 'phone=123&code=...' localhost:8000/login
"""

import os
import secrets
import sys
from datetime import UTC, datetime

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponseForbidden, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.views.decorators.http import require_POST
from sms import SentCode, send_code

from otpreport import Dispatch, Reporter, Verification

settings.configure(
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_hex(),
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    USE_TZ=True,
)
reporter = Reporter(
    os.environ.get("OTPREPORT_REDIS_URL", "redis://127.0.0.1:6379/0"),
    accounts=["tencent", "alibaba"],
    tracking=True,
)
codes: dict[str, SentCode] = {}  # a real app keeps them in its sessions


@require_POST
def request_code(request: HttpRequest) -> HttpResponseBase:
    phone = request.POST["phone"]
    codes[phone] = sent = send_code(phone)
    reporter.report(
        Dispatch(account="tencent", message_id=sent.message_id, sent_at=sent.sent_at, country="SG")
    )
    return JsonResponse({"status": "sent"})


@require_POST
def login(request: HttpRequest) -> HttpResponseBase:
    phone = request.POST["phone"]
    sent = codes.get(phone)
    if sent is None or sent.code != request.POST["code"]:
        return HttpResponseForbidden("wrong code")
    del codes[phone]
    event = Verification(
        account="tencent", message_id=sent.message_id, sent_at=sent.sent_at, occurred_at=datetime.now(UTC)
    )
    reporter.report(event)
    return JsonResponse({"status": "welcome"})


urlpatterns = [path("code", request_code), path("login", login)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
