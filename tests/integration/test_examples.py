"""The examples, as their first lines say to run them, asked by real HTTP requests."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import redis

from tests.support.admin import admin
from tests.support.events import event_of
from tests.support.wait import until
from worker.embedded import EmbeddedValkey, free_port

REPOSITORY = Path(__file__).parents[2]

COMMANDS = {
    "fastapi": ["-m", "uvicorn", "--app-dir", "examples", "fastapi_app:app", "--port", "{port}"],
    "flask": ["-m", "flask", "--app", "examples/flask_app.py", "run", "--port", "{port}"],
    "django": ["examples/django_app.py", "runserver", "--noreload", "{port}"],
}


class Site:
    """A running example."""

    def __init__(self, port: int, log: Path) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._log = log

    def post(self, path: str, **form: str) -> int:
        """Return the status of a POST request; 0 while nobody listens."""
        try:
            with urlopen(f"{self._base}{path}", urlencode(form).encode(), timeout=20) as answer:
                return cast("int", answer.status)
        except HTTPError as error:
            error.close()
            return error.code
        except URLError:
            return 0

    def code(self) -> str:
        """Return the code that was sent last."""
        codes = re.findall(r"SMS to 123: (\d{6})", self._log.read_text())
        return cast("str", codes[-1])


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], log: Path) -> Generator[Site]:
    """Run an example on a free port."""
    port = free_port()
    arguments = [sys.executable, *(part.format(port=port) for part in command)]
    with log.open("wb") as output:
        server = subprocess.Popen(
            arguments, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield Site(port, log)
        finally:
            server.terminate()
            server.wait(timeout=30)


def log_in_again(site: Site) -> bool:
    """Get another code and log in with it, if nothing came of the first within a second."""
    time.sleep(1.0)
    site.post("/code", phone="123")
    site.post("/login", phone="123", code=site.code())
    return False


def notices(client: redis.Redis) -> list[bytes]:
    """Return what was told of OTPs."""
    return cast("list[bytes]", client.lrange("otpreport.tencent.otps", 0, -1))


@pytest.mark.parametrize("framework", COMMANDS)
def test_example(framework: str, shared_valkey: EmbeddedValkey, valkey: redis.Redis, tmp_path: Path) -> None:
    """Who types the right code is logged in and reported; who types a wrong one is neither."""
    environment = os.environ | {
        "OTPREPORT_REDIS_URL": shared_valkey.url,
        "PYTHONPATH": str(REPOSITORY),
        "XDG_STATE_HOME": str(tmp_path),
    }
    before = datetime.now(UTC)
    with running(COMMANDS[framework], environment, tmp_path / "log") as site:
        until(lambda: site.post("/code", phone="123") == 200)
        assert site.post("/login", phone="123", code="no code") == 403
        assert site.post("/login", phone="123", code=site.code()) == 200
        # on a stalled machine the first report makes a detour through the spool, or finds not even that ready
        until(lambda: admin(valkey).llen("otpreport.tencent") or log_in_again(site))
        # that the OTP was sent and verified is told, too: of the first login, or of each
        until(lambda: {line.split(b" ")[0] for line in notices(valkey)} == {b"sent", b"verified"})
    event = event_of(cast("bytes", admin(valkey).lindex("otpreport.tencent", -1)))
    assert (event.account, event.message_id[:5], event.verified) == ("tencent", "2640:", True)
    assert event.sent_at is not None
    millisecond = timedelta(milliseconds=1)
    assert before - millisecond <= event.sent_at <= event.occurred_at <= datetime.now(UTC)
