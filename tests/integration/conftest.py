"""Fixtures for the tests of the core: workers' queues on a real server."""

from collections.abc import AsyncIterator

import pytest
import redis

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
