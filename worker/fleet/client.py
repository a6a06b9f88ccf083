"""The Redis client of commands and exporter, and the messages for what Redis refuses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    InvalidResponse,
    RedisError,
    ResponseError,
)
from redis.sentinel import MasterNotFoundError

from config.settings import Settings, where_set
from otpreport.address import absent_file, connection_pool, read
from otpreport.place import place
from otpreport.scheme import wrong_scheme
from tasks.script import DENIED_IN_A_SCRIPT, denied_command, is_denied

TIMEOUT = 5.0
"""Seconds a command of Redis may take."""

NO_ACCOUNTS = "no account is configured here, and no worker has announced one in the last ten minutes"

_OF_A_KEY = re.compile(r"access (a|one of the) key")

_TOO_OLD = "compiling script"
"""What a Redis says that does not know a script's flags."""

_NO_DATABASE = re.compile("DB index is out of range|SELECT is not allowed")


def connect(settings: Settings) -> Redis:
    """Return a client of the configured Redis, which has not connected yet."""
    return Redis(connection_pool=connection_pool(settings.redis_url.get_secret_value(), timeout=TIMEOUT))


def is_wrong(error: RedisError) -> bool:
    """Return whether the settings or this Redis are wrong: another try would meet the same."""
    text = str(error)
    if isinstance(error, ResponseError):
        return is_denied(error) or _TOO_OLD in text or _NO_DATABASE.search(text) is not None
    return isinstance(error, AuthenticationError)


def refused(settings: Settings, error: RedisError) -> str:
    """Return what Redis refused, in one line with its address, and the setting where that may be wrong."""
    text = " ".join(str(error).split())
    if isinstance(error, ResponseError) and is_denied(error):
        fault = (
            f"forbids {_user(settings)} {_forbidden(settings, text)}: {text} (see docs/scaling.md, Rights)"
        )
    elif isinstance(error, AuthenticationError):
        fault = f"refuses the user or password ({text}): check {where_set('redis_url')}"
    elif isinstance(error, ResponseError):
        fault = _refusal(text)
    else:
        fault = _no_answer(settings, error, text)
    return f"redis at {place(settings.redis_url.get_secret_value())} {fault}"


def _forbidden(settings: Settings, text: str) -> str:
    if DENIED_IN_A_SCRIPT.search(text):
        return f"a command of a script {denied_command(text)}".rstrip()
    if _OF_A_KEY.search(text):
        return f"access to {settings.key_prefix}otpreport.* and {settings.key_prefix}otpreport:*"
    return "a command"


def _refusal(text: str) -> str:
    if _TOO_OLD in text:
        return "is too old: 7 or newer is needed; see `otpreport check`"
    if _NO_DATABASE.search(text):
        return f"has no such database ({text}): check the number in {where_set('redis_url')}"
    return f"refuses: {text}"


def _no_answer(settings: Settings, error: RedisError, text: str) -> str:
    address = read(settings.redis_url.get_secret_value())
    if wrong := wrong_scheme(address, error):
        return f"is unreachable: {wrong} ({where_set('redis_url')})"
    if isinstance(error, InvalidResponse):
        return f"does not answer as Redis does ({text}): check the port in {where_set('redis_url')}"
    if isinstance(error, MasterNotFoundError):  # redis-py tells of each sentinel's connection pool
        text = f"no sentinel knows a live master {address.service!r}"
    text = absent_file(address.options) or text
    return f"is unreachable: {text} ({where_set('redis_url')})"


def _user(settings: Settings) -> str:
    user = urlsplit(settings.redis_url.get_secret_value()).netloc.rpartition("@")[0].partition(":")[0]
    return f"user {user}" if user else "its user"
