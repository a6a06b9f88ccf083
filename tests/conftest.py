"""Fixtures for every test: real Valkey servers on free ports."""

import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import redis

from tests.support.admin import admin
from tests.support.skips import pytest_sessionfinish, pytest_terminal_summary
from worker.embedded import EmbeddedValkey

__all__ = ["pytest_sessionfinish", "pytest_terminal_summary"]  # hooks, which pytest finds here

# a slow machine is no fault of the code
hypothesis.settings.register_profile("otpreport", deadline=None)
hypothesis.settings.load_profile("otpreport")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # started in the background of a script: what the tests start would be deaf to Ctrl-C, too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """One server for the tests that leave it as they found it."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey"), options={"appendfsync": "no"}) as server:
        yield server


@pytest.fixture
def valkey(shared_valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """Yield a client of an empty server."""
    with redis.Redis(port=shared_valkey.port) as client:
        admin(client).flushall()
        yield client


@pytest.fixture
def valkey_server(tmp_path: Path) -> Iterator[EmbeddedValkey]:
    """Yield a server of the test's own, to kill, freeze or fill."""
    with EmbeddedValkey(tmp_path / "valkey") as server:
        yield server


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Give logging back as it was, whatever a test configures."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
