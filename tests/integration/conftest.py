"""Fixtures for the tests of the core: workers' queues on a real server."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.support.dead import Undertaker
from tests.support.queues import Fleet
from worker.connect import connect
from worker.embedded import EmbeddedValkey


@pytest.fixture
async def fleet(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> AsyncIterator[Fleet]:
    """Workers on an empty server."""
    client = connect(shared_valkey.url)
    yield Fleet(client, valkey)
    await client.aclose()


@pytest.fixture
async def short_lived(shared_valkey: EmbeddedValkey, valkey: redis.Redis) -> AsyncIterator[Fleet]:
    """Workers on an empty server, with leases of 0.3 s."""
    client = connect(shared_valkey.url)
    yield Fleet(client, valkey, lease=0.3)
    await client.aclose()


@pytest.fixture
def url(valkey: redis.Redis) -> str:
    """Return where the empty server is."""
    return f"redis://127.0.0.1:{valkey.connection_pool.connection_kwargs['port']}/0"


@pytest.fixture
def undertaker(valkey: redis.Redis) -> Undertaker:
    """Return who buries events there."""
    return Undertaker(valkey.connection_pool.connection_kwargs["port"])


@pytest.fixture
def away(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """Return a server that does not run yet."""
    server = EmbeddedValkey(tmp_path / "valkey")
    yield server
    with suppress(RuntimeError):
        server.stop()
