"""Whether a Redis that can't be reached is named with the wrong scheme: with TLS where there is none, or without."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.sentinel import MasterNotFoundError

if TYPE_CHECKING:
    from otpreport.address import Address

_LONGEST = 1.0
"""Seconds to look, for all servers together."""

_UNHEARD = (RedisConnectionError, RedisTimeoutError, InvalidResponse, MasterNotFoundError)
"""What redis-py raises where no Redis answered. Their subclasses stand for what one said."""

_REPLIES = (b"+", b"-")
_RECORDS = (b"\x15\x03", b"\x16\x03")
"""How records of TLS begin that a server sends first: an alert, a handshake."""


def wrong_scheme(address: Address, error: RedisError) -> str:
    """Say that a port speaks the other protocol, and what to write; empty if none does. It connects to find out."""
    if address.unix or type(error) not in _UNHEARD:
        return ""
    end = time.monotonic() + _LONGEST
    for host, port in address.places:
        try:
            with socket.create_connection((host, port), max(0.01, end - time.monotonic())) as server:
                server.settimeout(max(0.01, end - time.monotonic()))
                if _speaks_the_other(server, host, tls=address.tls):
                    return f"{host}:{port} {_fix(address)}"
        except (OSError, ValueError):  # the second for a name that TLS can't send
            continue
    return ""


def _speaks_the_other(server: socket.socket, host: str, *, tls: bool) -> bool:
    if tls:
        server.sendall(b"PING\r\n")
        return server.recv(1) in _REPLIES
    server.sendall(_hello(host))
    return server.recv(2) in _RECORDS


def _hello(host: str) -> bytes:
    """Return how a client of TLS begins."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    sent = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=host).do_handshake()
    return sent.read()


def _fix(address: Address) -> str:
    if address.sentinels:
        return f"speaks {'no TLS: leave out' if address.tls else 'TLS: add'} ssl=true"
    return (
        "speaks no TLS: name its TLS port, or write redis://"
        if address.tls
        else "speaks TLS: write rediss://"
    )
