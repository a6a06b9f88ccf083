"""The client of whoever looks at the fleet, and what is said where Redis refuses it."""

from __future__ import annotations

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.sentinel import MasterNotFoundError

from config.settings import Settings
from otpreport.address import connection_pool, place, read

TIMEOUT = 5.0
"""Seconds a command of Redis may take."""

_TOO_OLD = "compiling script"
"""What a Redis says that does not know a script's flags."""


def connect(settings: Settings) -> Redis:
    """Return a client of the configured Redis, which has not connected yet."""
    return Redis(connection_pool=connection_pool(settings.redis_url.get_secret_value(), timeout=TIMEOUT))


def is_wrong(error: RedisError) -> bool:
    """Return whether the settings or this Redis are wrong: another try would meet the same."""
    denied = isinstance(error, AuthenticationError | NoPermissionError)
    return denied or (isinstance(error, ResponseError) and _TOO_OLD in str(error))


def refused(settings: Settings, error: RedisError) -> str:
    """Return what Redis refused, in one line with its address."""
    where = f"redis at {place(settings.redis_url.get_secret_value())}"
    said = " ".join(str(error).split())
    match error:
        case MasterNotFoundError():  # redis-py tells of each sentinel's connection pool
            service = read(settings.redis_url.get_secret_value()).service
            return f"{where} can't be reached: no sentinel knows a living master {service!r}"
        case AuthenticationError():
            return f"{where} refuses the user or password ({said}): look at OTPREPORT_REDIS_URL"
        case NoPermissionError():
            return f"{where} forbids its user a command: {said}"
        case ResponseError() if _TOO_OLD in said:
            return f"{where} is too old, 7 is needed: see `python -m worker check`"
        case ResponseError():
            return f"{where} refuses: {said}"
        case _:
            return f"{where} can't be reached: {said}"
