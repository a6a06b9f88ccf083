"""HTTP/1.1 over one connection: a request out, its answer in, and a bound on all that the other end may say.

asyncio brings the bytes, llhttp (by httptools) reads them. A connection carries one exchange at a time and no byte too
many: one that spoke before it was asked, or went on after its answer, carries no further one.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import cast

import httptools

from providers.base import Answer
from tasks.report import InDoubt, NotSent

MAX_ANSWER = 256 * 1024
"""Bytes read of an answer's body; a provider's has a few hundred."""

MAX_AROUND = 32 * 1024
"""Bytes read around the body: heads, interim answers, chunk sizes and extensions, trailers."""

MAX_INTERIM = 10
"""Interim answers (1xx) before the answer."""

MAX_READS = 1024
"""Reads of one exchange: each costs a turn of the loop, even if it is one byte."""

_AT_ONCE = 16 * 1024
"""Bytes that are parsed between two checks of the limits."""

_AT_ONCE_GONE = struct.pack("ii", 1, 0)
"""SO_LINGER: the connection ends with a reset, and the kernel sends nothing any more."""

_CERTIFICATE_REFUSED = re.compile("_ALERT_(.*CERTIFICATE|UNKNOWN_CA)")
"""Why a provider ends the connection of a client that it does not take; with TLS 1.3 we hear it after we asked."""

_FRAMES = {b"content-length", b"transfer-encoding"}


def request(
    method: str, target: str, authority: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> bytes:
    """Return a request as it goes over the wire: as signed, with only host and length added.

    ValueError, which never shows the value, for a line break or anything else that is invalid in a header.
    """
    fields = "".join([f"{name}: {value}\r\n" for name, value in headers])
    head = f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    lines = len(headers) + 4
    if not head.count("\r") == head.count("\n") == lines or " " in target or not head.isascii():
        raise ValueError("a header, or the target, holds a line break or no ASCII")
    return head.encode("ascii") + body


def is_certificate_refused(error: BaseException | None) -> bool:
    """Return whether a provider does not take our client certificate: then it has read no request."""
    return isinstance(error, ssl.SSLError) and bool(_CERTIFICATE_REFUSED.search(error.reason or ""))


class Headers(Mapping[str, str]):
    """An answer's headers by lower-case name, parsed on first use: a delivered report needs none."""

    __slots__ = ("_fields", "_raw")

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._raw = raw
        self._fields: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._sorted_out()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._sorted_out())

    def __len__(self) -> int:
        return len(self._sorted_out())

    def _sorted_out(self) -> dict[str, str]:
        if self._fields is None:
            self._fields = {}
            for raw_name, raw_value in self._raw:
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                self._fields[name] = f"{self._fields[name]}, {value}" if name in self._fields else value
        return self._fields


class HttpConnection(asyncio.Protocol):
    """A connection to a provider; `lost` is called once when it is gone."""

    _raw: list[tuple[bytes, bytes]]
    _body: list[bytes]

    def __init__(self, lost: Callable[[HttpConnection], None]) -> None:
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._unread = select.poll()
        self._sound = False
        self._asked: asyncio.Future[Answer] | None = None
        self._start()

    # What the client calls

    @property
    def reusable(self) -> bool:
        """Whether the last exchange, if there was one, came to a right end and nothing was heard since."""
        return self._sound and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether nothing came that the loop has not read yet, and no end: it would be taken for the next answer."""
        return not self._unread.poll(0)

    def ask(self, written: bytes) -> asyncio.Future[Answer]:
        """Write a request, and promise its answer, or InDoubt or NotSent."""
        self._asked, self._sound = self._loop.create_future(), False
        self._transport.write(written)
        return self._asked

    def cut(self, why: str = "") -> None:
        """End the connection; the request that waits for its answer is in doubt, and none of it leaves any more."""
        if self._asked is not None and not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_GONE
            )
        self._fail(why)
        self._transport.abort()

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        self._transport = cast("asyncio.Transport", transport)
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._sound = True

    def data_received(self, data: bytes) -> None:
        """Read more of the answer; unsolicited bytes end the connection."""
        if self._asked is None:
            self.cut()
            return
        fault = self._read(data)
        if fault:
            self.cut(f"ReadError: {fault}")
        elif self._whole:
            self._finish(keep=self._keep)

    def eof_received(self) -> None:
        """Treat the end of the connection as the end of an answer without a length."""
        framed = any(name.lower() in _FRAMES for name, _ in self._raw)
        if self._asked is not None and self._headed and not framed:
            self._finish(keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave who waits for an answer in doubt, unless our certificate was refused: nothing was read then."""
        if is_certificate_refused(exc):
            self._fail(f"ConnectError: {exc}", NotSent)
        else:
            self._fail(f"ReadError: {exc or 'the connection ended before the answer did'}")
        del self._parser  # it refers back to this object
        self._lost(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        """Refuse a second answer."""
        if self._whole:
            raise ValueError("it went on after its answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer comes too late to be one."""
        if not self._headed:
            self._raw.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that what follows is the body."""
        self._status, self._headed = self._parser.get_status_code(), True

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._body.append(body)
        self._length += len(body)

    def on_message_complete(self) -> None:
        """Note a whole answer; an interim one (1xx) only says that it is on its way."""
        if not 100 <= self._status < 200:
            self._whole, self._keep = True, self._parser.should_keep_alive()
            return
        self._raw, self._headed = [], False
        self._interim += 1  # after a 101 the parser stops by itself

    def _start(self) -> None:
        self._raw, self._body = [], []
        self._status = self._length = self._received = self._reads = self._interim = 0
        self._headed = self._whole = self._keep = False

    def _read(self, data: bytes) -> str:
        """Parse received bytes; return the fault, empty if there is none."""
        self._reads += 1
        try:
            for start in range(0, len(data), _AT_ONCE):
                piece = data[start : start + _AT_ONCE]
                self._received += len(piece)
                self._parser.feed_data(piece)
                if excess := self._excess():
                    return excess
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._whole:
                return self._excess() or ("another protocol" if self._status == 101 else f"not HTTP: {error}")
            self._keep = False  # it is an answer, but the next one would not be
        return ""

    def _excess(self) -> str:
        if self._length > MAX_ANSWER:
            return f"the answer is longer than {MAX_ANSWER} bytes"
        if self._received - self._length > MAX_AROUND:
            return f"more than {MAX_AROUND} bytes around the answer"
        if self._interim > MAX_INTERIM:
            return f"more than {MAX_INTERIM} interim answers"
        return f"the answer came in more than {MAX_READS} pieces" if self._reads > MAX_READS else ""

    def _finish(self, *, keep: bool) -> None:
        asked, self._asked, self._sound = self._asked, None, keep
        if asked is not None and not asked.done():
            asked.set_result(Answer(self._status, Headers(self._raw), b"".join(self._body)))
        self._start()  # now, so that a connection which is kept holds no answer

    def _fail(self, why: str, kind: type[NotSent | InDoubt] = InDoubt) -> None:
        asked, self._asked, self._sound = self._asked, None, False
        if asked is not None and not asked.done():
            asked.set_exception(kind(why[:200]))
