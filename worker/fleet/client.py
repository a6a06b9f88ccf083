"""The Redis client of commands and exporter, and the messages for what Redis refuses."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.sentinel import MasterNotFoundError

from config.settings import Settings
from otpreport.address import connection_pool, read
from otpreport.place import place

TIMEOUT = 5.0
"""Seconds a command of Redis may take."""

NO_ACCOUNTS = "no account is configured here, and no worker has announced one in the last ten minutes"

_RIGHTS = "see docs/scaling.md, Rights"
_OF_A_KEY = re.compile(r"access (a|one of the) key")
_IN_A_SCRIPT = re.compile(r"ACL failure in script|The user executing the script can't")

_TOO_OLD = "compiling script"
"""What a Redis says that does not know a script's flags."""


def connect(settings: Settings) -> Redis:
    """Return a client of the configured Redis, which has not connected yet."""
    return Redis(connection_pool=connection_pool(settings.redis_url.get_secret_value(), timeout=TIMEOUT))


def is_wrong(error: RedisError) -> bool:
    """Return whether the settings or this Redis are wrong: another try would meet the same."""
    denied = isinstance(error, AuthenticationError | NoPermissionError)
    text = str(error)
    return denied or (
        isinstance(error, ResponseError) and (_TOO_OLD in text or _IN_A_SCRIPT.search(text) is not None)
    )


def refused(settings: Settings, error: RedisError) -> str:
    """Return what Redis refused, in one line with its address."""
    where = f"redis at {place(settings.redis_url.get_secret_value())}"
    text = " ".join(str(error).split())
    match error:
        case MasterNotFoundError():  # redis-py tells of each sentinel's connection pool
            service = read(settings.redis_url.get_secret_value()).service
            return f"{where} is unreachable: no sentinel knows a live master {service!r}"
        case AuthenticationError():
            return f"{where} refuses the user or password ({text}): check OTPREPORT_REDIS_URL"
        case NoPermissionError() if _OF_A_KEY.search(text):
            keys = f"{settings.key_prefix}otpreport.* and {settings.key_prefix}otpreport:*"
            return f"{where} forbids {_user(settings)} access to {keys}: {text} ({_RIGHTS})"
        case NoPermissionError():
            return f"{where} forbids {_user(settings)} a command: {text} ({_RIGHTS})"
        case ResponseError() if _IN_A_SCRIPT.search(text):
            return f"{where} forbids {_user(settings)} a command of a script: {text} ({_RIGHTS})"
        case ResponseError() if _TOO_OLD in text:
            return f"{where} is too old: 7 or newer is needed; see `otpreport check`"
        case ResponseError():
            return f"{where} refuses: {text}"
        case _:
            return f"{where} is unreachable: {text}"


def _user(settings: Settings) -> str:
    user = urlsplit(settings.redis_url.get_secret_value()).netloc.rpartition("@")[0].partition(":")[0]
    return f"user {user}" if user else "its user"
