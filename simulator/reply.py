"""HTTP answers as bytes."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

JSON = b"application/json"
HTML = b"text/html"

_FIRST_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


class Reply(NamedTuple):
    """An answer before it is written out, without a content type where that is empty; `extra` holds header lines."""

    status: int
    body: bytes
    content_type: bytes = JSON
    extra: bytes = b""


def with_time(reply: Reply, header: bytes, milliseconds: int) -> Reply:
    """Return an answer that says when to come back, in the header's unit; unchanged where the provider has none."""
    if not header:
        return reply
    units = milliseconds if header == b"x-acs-retry-after" else -(-milliseconds // 1000)
    return reply._replace(extra=b"%s: %d\r\n" % (header, units))


def encode(reply: Reply, date: bytes, *, keep_alive: bool) -> bytes:
    """Return the bytes of an answer."""
    return b"%s%sDate: %s\r\nContent-Length: %d\r\n%s%s\r\n%s" % (
        _FIRST_LINES.get(reply.status) or b"HTTP/1.1 %d Unknown\r\n" % reply.status,
        b"Content-Type: %s\r\n" % reply.content_type if reply.content_type else b"",
        date,
        len(reply.body),
        b"" if keep_alive else b"Connection: close\r\n",
        reply.extra,
        reply.body,
    )


UNAVAILABLE = Reply(503, b"<html><body><h1>503 Service Unavailable</h1></body></html>", HTML)
WEB_PAGE = Reply(
    200, b"<!DOCTYPE html><html><body><h1>Welcome to the captive portal</h1></body></html>", HTML
)
CHALLENGE = Reply(202, b"", b"", b"x-amzn-waf-action: challenge\r\n")
EMPTY = Reply(403, b"", HTML)
NOT_FOUND = Reply(404, b"<html><body><h1>404 Not Found</h1></body></html>", HTML)
BAD_REQUEST = Reply(400, b"<html><body><h1>400 Bad Request</h1></body></html>", HTML)
TOO_LARGE = Reply(413, b"<html><body><h1>413 Content Too Large</h1></body></html>", HTML)
FAILED = Reply(500, b"<html><body><h1>500 Internal Server Error</h1></body></html>", HTML)
