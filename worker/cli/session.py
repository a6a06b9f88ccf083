"""What a command works with: the settings, and a Redis that answers."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from config.faults import SettingsError
from config.settings import Settings, load
from tasks.fleet.snapshot import SnapshotReader
from tasks.keys import Keys
from tasks.keyspace import naming
from tasks.queue.fitness import FORMAT, too_new
from tasks.stored import leading
from worker.cli.errors import NO, WRONG, CommandError
from worker.fleet.client import NO_ACCOUNTS, connect, is_wrong, refused
from worker.groups import in_force

MOST_AWAY = 60.0
"""Seconds that a command which runs for long waits for a Redis that is away."""


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


def settings_or_stop(*, keyless: bool = False) -> Settings:
    """Return the settings; CommandError with a line for each fault. `keyless`: the accounts need no keys."""
    try:
        return load(keyless=keyless)
    except SettingsError as error:
        faults = error.faults
    raise CommandError(WRONG, *faults)


@contextmanager
def session(*, keyless: bool = False) -> Generator[Session]:
    """Open a session; a Redis error in it ends the command with one line.

    `keyless`: for read-only commands, whose accounts need no keys.
    """
    settings = settings_or_stop(keyless=keyless)
    client = connect(settings)
    try:
        _check_format(client, Keys(settings.key_prefix))
        found = in_force(settings, client)
        if not found.accounts:
            raise CommandError(NO, NO_ACCOUNTS)
        yield Session(found, client, Keys(settings.key_prefix))
    except RedisError as error:
        raise refusal(settings, error) from error
    finally:
        client.connection_pool.disconnect()  # a client does not close a pool that it was given


def _check_format(client: Redis, keys: Keys) -> None:
    """Raise CommandError if Redis holds a newer version's data, which this one may misread."""
    untyped: Any = client
    with naming(keys.maintenance):
        stored = leading(untyped.hget(keys.maintenance, "format"))
    if stored > FORMAT:
        raise CommandError(WRONG, f"redis: {too_new(stored)}")


def refusal(settings: Settings, error: RedisError) -> CommandError:
    """Return how a command ends that Redis refused: 2 where the settings or this Redis are wrong, else 1."""
    return CommandError(WRONG if is_wrong(error) else NO, refused(settings, error))
