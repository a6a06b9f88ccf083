"""HTTP/1.1 over one connection: a request out, its answer in, and a bound on all that the other end may say.

asyncio brings the bytes, llhttp (by httptools) reads them. A connection carries one exchange at a time and no byte too
many: one that spoke before it was asked, or went on after its answer, carries no further one.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import select
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias, cast

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
    fields = "\r\n".join(map(": ".join, (("Host", authority), *headers, ("Content-Length", str(len(body))))))
    head = f"{method} {target} HTTP/1.1\r\n{fields}\r\n\r\n"
    lines = len(headers) + 4
    if not head.count("\r") == head.count("\n") == lines or " " in target or not head.isascii():
        raise ValueError("a header, or the target, holds a line break or no ASCII")
    return head.encode("ascii") + body


def is_certificate_refused(error: BaseException | None) -> bool:
    """Return whether a provider does not take our client certificate: then it has read no request."""
    return isinstance(error, ssl.SSLError) and bool(_CERTIFICATE_REFUSED.search(error.reason or ""))


class Headers(Mapping[str, str]):
    """An answer's headers by lower-case name, read on first use: a delivered report needs none."""

    __slots__ = ("_fields", "_read")

    def __init__(self, read: Callable[[], list[tuple[bytes, bytes]]]) -> None:
        self._read = read
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
            for raw_name, raw_value in self._read():
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                self._fields[name] = f"{self._fields[name]}, {value}" if name in self._fields else value
        return self._fields


class _Head:
    """The head of an answer, read again from what was received; interim answers (1xx) and trailers left out."""

    def __init__(self, received: list[bytes]) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.whole = False
        self._parser = httptools.HttpResponseParser(self)
        with contextlib.suppress(httptools.HttpParserError, httptools.HttpParserUpgrade):
            for piece in received:
                self._parser.feed_data(piece)
        del self._parser  # it refers back to this object

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.whole:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.whole:
            return  # what follows is no part of the answer
        self.whole = not 100 <= self._parser.get_status_code() < 200
        if not self.whole:
            self.fields.clear()


def _pieces(data: bytes) -> list[bytes]:
    return [data[start : start + _AT_ONCE] for start in range(0, len(data), _AT_ONCE)]


def _fields(received: list[bytes]) -> list[tuple[bytes, bytes]]:
    return _Head(received).fields


Hears: TypeAlias = "Callable[[HttpConnection, Answer | NotSent | InDoubt], None]"


class HttpConnection(asyncio.Protocol):
    """A connection to a provider; `lost` is called once when it is gone."""

    _pieces: list[bytes]

    def __init__(self, lost: Callable[[HttpConnection], None]) -> None:
        self._lost = lost
        self._transport: asyncio.Transport
        self._body: list[bytes] = []
        self.on_body = self._body.append  # what the parser calls, without a call of Python's
        self._parser = httptools.HttpResponseParser(self)
        self._unread = select.poll()
        self._sound = False
        self._hears: Hears | None = None
        self._start()

    # What the client calls

    @property
    def reusable(self) -> bool:
        """Whether the last exchange, if there was one, came to a right end and nothing was heard since."""
        return self._sound and not self._transport.is_closing()

    @property
    def ready(self) -> bool:
        """Whether it may be used again, and nothing came that the loop has not read yet.

        That would be taken for the next answer; an end as well.
        """
        return self._sound and not self._transport.is_closing() and not self._unread.poll(0)

    def ask(self, written: bytes, then: Hears) -> None:
        """Write a request; `then` hears its answer, or InDoubt or NotSent."""
        self._sound = False
        self._transport.write(written)
        self._hears = then

    def cut(self, why: str = "") -> None:
        """End the connection; the request that waits for its answer is in doubt, and none of it leaves any more."""
        if self._hears is not None and not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE_GONE
            )
        self._transport.abort()
        self._fail(why)

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        self._transport = cast("asyncio.Transport", transport)
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._sound = True

    def data_received(self, data: bytes) -> None:
        """Read more of the answer; unsolicited bytes end the connection."""
        if self._hears is None:
            self.cut()
            return
        fault = self._read(data)
        if fault:
            self.cut(f"ReadError: {fault}")
        elif self._whole:
            self._finish(keep=self._keep)

    def eof_received(self) -> None:
        """Treat the end of the connection as the end of an answer without a length."""
        head = _Head(self._pieces)
        framed = any(name.lower() in _FRAMES for name, _ in head.fields)
        if self._hears is not None and head.whole and not framed:
            self._status = self._parser.get_status_code()
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

    def on_message_complete(self) -> None:
        """Note a whole answer; an interim one (1xx) only says that it is on its way."""
        self._status = self._parser.get_status_code()
        if 100 <= self._status < 200:
            self._interim += 1  # after a 101 the parser stops by itself
        else:
            self._whole, self._keep = True, self._parser.should_keep_alive()

    def _start(self) -> None:
        self._pieces = []
        self._body.clear()
        self._status = self._received = self._reads = self._interim = 0
        self._whole = self._keep = False

    def _read(self, data: bytes) -> str:
        """Parse received bytes; return the fault, empty if there is none."""
        self._reads += 1
        self._pieces.append(data)
        try:
            for piece in (data,) if len(data) <= _AT_ONCE else _pieces(data):
                self._received += len(piece)
                self._parser.feed_data(piece)
                if (
                    self._received > MAX_AROUND or self._reads > MAX_READS or self._interim > MAX_INTERIM
                ) and (excess := self._excess()):
                    return excess
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._whole:
                return self._excess() or ("another protocol" if self._status == 101 else f"not HTTP: {error}")
            self._keep = False  # it is an answer, but the next one would not be
        return ""

    def _excess(self) -> str:
        length = sum(map(len, self._body))
        if length > MAX_ANSWER:
            return f"the answer is longer than {MAX_ANSWER} bytes"
        if self._received - length > MAX_AROUND:
            return f"more than {MAX_AROUND} bytes around the answer"
        if self._interim > MAX_INTERIM:
            return f"more than {MAX_INTERIM} interim answers"
        return f"the answer came in more than {MAX_READS} pieces" if self._reads > MAX_READS else ""

    def _finish(self, *, keep: bool) -> None:
        hears, self._hears, self._sound = self._hears, None, keep
        answer = Answer(self._status, Headers(partial(_fields, self._pieces)), b"".join(self._body))
        self._start()  # now, so that a connection which is kept holds no answer
        if hears is not None:
            hears(self, answer)

    def _fail(self, why: str, kind: type[NotSent | InDoubt] = InDoubt) -> None:
        hears, self._hears, self._sound = self._hears, None, False
        if hears is not None:
            hears(self, kind(why[:200]))
