"""What a command works with: the settings, and a Redis that answers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.sentinel import MasterNotFoundError

from config.faults import SettingsError
from config.settings import Settings, load
from otpreport.address import connection_pool, place, read
from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.keyspace import naming
from tasks.queue.fitness import FORMAT, too_new
from worker.cli.stop import NO, WRONG, Stop
from worker.groups import in_force

TIMEOUT = 5.0
"""Seconds a command of Redis may take."""


@dataclass(frozen=True, slots=True)
class Session:
    """The settings, and a client of the Redis they name."""

    settings: Settings
    client: Redis
    keys: Keys

    def snapshots(self) -> SnapshotReader:
        """Return what reads the fleet."""
        groups = {account.name: account.rate_group for account in self.settings.accounts.values()}
        return SnapshotReader(self.client, self.keys, groups)


def settings_or_stop() -> Settings:
    """Return the settings; Stop with a line for each fault."""
    try:
        return load()
    except SettingsError as error:
        faults = error.faults
    raise Stop(WRONG, *faults)


def connect(settings: Settings) -> Redis:
    """Return a client of the configured Redis, which has not connected yet."""
    return Redis(connection_pool=connection_pool(settings.redis_url.get_secret_value(), timeout=TIMEOUT))


@contextmanager
def session() -> Generator[Session]:
    """Open a session; whatever Redis refuses in it ends the command with one line."""
    settings = settings_or_stop()
    client = connect(settings)
    try:
        _check_format(client, Keys(settings.key_prefix))
        yield Session(in_force(settings, client), client, Keys(settings.key_prefix))
    except RedisError as error:
        raise refusal(settings, error) from error
    finally:
        client.connection_pool.disconnect()  # a client does not close a pool that it was given


def _check_format(client: Redis, keys: Keys) -> None:
    """Stop where a newer version keeps it: what this one would change it may not understand."""
    untyped: Any = client
    with naming(keys.maintenance):
        stored = int(untyped.hget(keys.maintenance, "format") or 0)
    if stored > FORMAT:
        raise Stop(WRONG, f"redis: {too_new(stored)}")


def refusal(settings: Settings, error: RedisError) -> Stop:
    """Return how a command ends that Redis refused: 2 where the settings or this Redis are wrong, else 1."""
    where = f"redis at {place(settings.redis_url.get_secret_value())}"
    said = " ".join(str(error).split())
    match error:
        case MasterNotFoundError():  # redis-py tells of each sentinel's connection pool
            service = read(settings.redis_url.get_secret_value()).service
            return Stop(NO, f"{where} can't be reached: no sentinel knows a living master {service!r}")
        case AuthenticationError():
            return Stop(WRONG, f"{where} refuses the user or password ({said}): look at OTPREPORT_REDIS_URL")
        case NoPermissionError():
            return Stop(WRONG, f"{where} forbids its user a command: {said}")
        case ResponseError() if "compiling script" in said:
            return Stop(WRONG, f"{where} is too old, 7 is needed: see `python -m worker check`")
        case ResponseError():
            return Stop(NO, f"{where} refuses: {said}")
        case _:
            return Stop(NO, f"{where} can't be reached: {said}")
