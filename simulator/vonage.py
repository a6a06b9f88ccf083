"""Vonage: the Conversion API, as developer.vonage.com/api/conversion describes it.

Nothing here is shared with the code that reports: the simulator judges it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from simulator.credentials import basic, same
from simulator.reply import Reply
from simulator.request import Call, RefusedError, Request
from simulator.settings import Key

NAME = "vonage"
_TEXT = b"text/plain; charset=utf-8"
_FIELDS = {"message-id", "delivered", "timestamp"}
_SIGNING = {"api_key", "sig"}
_HASHES = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}


class Vonage:
    """The call of one provider: read it, authenticate it, validate it, answer it.

    Its codes are statuses. A key's secret is the API secret and the signature secret alike.
    """

    throttled = "429"
    says_when = b""
    replayed = ""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys if key.provider == NAME}

    def claims(self, request: Request) -> bool:
        """Say whether a request is meant for Vonage."""
        return request.target.startswith(b"/conversions/")

    def read(self, request: Request) -> Call:
        """Understand as much of a request as possible, without judging it."""
        pairs = parse_qsl(request.body.decode("latin-1"), keep_blank_values=True)
        form = dict(pairs)
        return Call(
            request,
            NAME,
            "sms",
            key=basic(request.headers)[0] or form.get("api_key", ""),
            message_id=form.get("message-id", ""),
            verified=form.get("delivered") not in {"false", "0"},
            parameters=form if len(form) == len(pairs) else None,
        )

    def key(self, call: Call) -> Key | None:
        """Return the key a call names."""
        return self._keys.get(call.key)

    def authenticate(self, call: Call, now: float) -> None:
        """Check who calls; RefusedError. `now`: UNIX seconds."""
        del now
        key, form = self.key(call), call.parameters or {}
        signature = form.get("sig")
        if key is None or not (
            _is_signed(form, str(signature), key.secret)
            if signature is not None
            else same(basic(call.request.headers)[1], key.secret)
        ):
            raise RefusedError("401", "Wrong credentials")

    def validate(self, call: Call, now: float) -> None:
        """Check what is said; RefusedError. `now`: UNIX seconds."""
        if self._keys[call.key].denied:
            raise RefusedError("402", "Conversion is not enabled for this account")
        request, form = call.request, call.parameters
        form_type = request.headers.get(b"content-type", b"").partition(b";")[0]
        if (request.method, request.target) != (b"POST", b"/conversions/sms"):
            raise RefusedError("420", "No such call")
        if form is None or form_type != b"application/x-www-form-urlencoded":
            raise RefusedError("420", "No form")
        if form.keys() - _SIGNING != _FIELDS or not form["message-id"]:
            raise RefusedError("423", "Invalid parameters")
        if form["delivered"] not in {"true", "false", "1", "0"}:
            raise RefusedError("423", "Invalid parameters")
        _check_time(str(form["timestamp"]), now)

    def success(self, call: Call, request_id: bytes) -> Reply:
        """Answer a report that is taken."""
        del call, request_id
        return Reply(200, b"OK", _TEXT)

    def error(self, call: Call, code: str, message: str, request_id: bytes) -> Reply:
        """Answer with a status."""
        del call, request_id
        return Reply(int(code) if code.isdigit() else 500, message.encode(), _TEXT)

    inner_error = error


def signature(form: Mapping[str, object], secret: str, method: str) -> str:
    """Return the signature of a form, of all its parameters but `sig` itself."""
    hashed = hmac.new(secret.encode(), digestmod=method)
    for name in sorted(form.keys() - {"sig"}):
        value = str(form[name]).replace("&", "_").replace("=", "_")
        hashed.update(f"&{name}={value}".encode())
    return hashed.hexdigest()


def _is_signed(form: Mapping[str, object], given: str, secret: str) -> bool:
    method = _HASHES.get(len(given))
    return method is not None and same(given, signature(form, secret, method))


def _check_time(text: str, now: float) -> None:
    try:
        at = datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise RefusedError("423", "Invalid parameters") from None
    if at > now:
        raise RefusedError("423", "Invalid parameters")
