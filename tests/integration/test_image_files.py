import contextlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest

from config.settings import EXPORTER_PORT, Settings
from otpreport.app_folder import PACKAGES
from worker.embedded import free_port

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def tool(name: str) -> str:
    """Return where a program is, beside this Python or on the path; skip the test where it is missing."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def output(*command: str) -> str:
    """Run a program in the project's folder and return what it says; it must succeed."""
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile passes its linter."""
    assert not output(tool("hadolint"), "Dockerfile")


def test_hadolint_would_find_something(tmp_path: Path) -> None:
    """The linter is a real one: a Dockerfile with a shell-form CMD fails."""
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM python:latest\nCMD python -m worker\n")
    ended = subprocess.run(
        [tool("hadolint"), str(bad)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert {"DL3007", "DL3025"} <= set(re.findall(r"DL\d+", ended.stdout))


def test_the_image_runs_as_a_user_and_gets_its_signals() -> None:
    """Both stages have the Python that the tests run on; no root; exec form, so that SIGTERM arrives."""
    bases = re.findall(r"^FROM ([^@\s]+)", DOCKERFILE, re.MULTILINE)
    assert bases == ["python:3.11-slim-bookworm"] * 2  # `make pin` puts a digest behind
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)", final, re.MULTILINE)[0]) == ["otpreport"]
    assert json.loads(re.findall(r"^CMD (.*)", final, re.MULTILINE)[0]) == ["run"]
    assert "STOPSIGNAL SIGTERM" in final
    assert not re.search(r"apt-get|gcc|build-essential", DOCKERFILE)


def health_check() -> list[str]:
    """Return the program of HEALTHCHECK, in exec form, and its arguments."""
    found = re.search(r"^HEALTHCHECK [^\[]*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    command: list[str] = json.loads(found[1])
    assert command[0] == "python"
    return command[1:]


def healthy(arguments: list[str], **environment: str) -> bool:
    """Whether the image's health check is content."""
    command = [sys.executable, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
    return ended.returncode == 0


@pytest.mark.parametrize("status", [200, 503])
def test_the_image_s_health_check(status: int) -> None:
    """HEALTHCHECK is exec form, asks /healthz with Python alone, past any proxy, and believes the status."""
    with answering(status, "/healthz") as port:
        found = healthy(health_check(), OTPREPORT_METRICS_PORT=str(port), http_proxy="http://127.0.0.1:9")
    assert found is (status == 200)


@pytest.mark.parametrize("serving", ["worker", "exporter", "neither"])
def test_the_health_check_knows_the_ports_of_both(serving: str) -> None:
    """With no port in the environment it asks a worker's, then the exporter's: each has a default of its own."""
    with answering(200, "/healthz") as port:
        ports = {"worker": free_port(), "exporter": free_port()} | {serving: port}
        defaults = {"worker": Settings.model_fields["metrics_port"].default, "exporter": EXPORTER_PORT}
        *options, script = health_check()
        for process, default in defaults.items():
            assert str(default) in script
            script = script.replace(str(default), str(ports[process]))
        assert healthy([*options, script]) is (serving != "neither")
        assert not healthy([*options, script], OTPREPORT_METRICS_PORT=str(free_port()))


@contextlib.contextmanager
def answering(status: int, path: str) -> Generator[int]:
    """Serve `status` at `path`, 404 elsewhere; yield the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_only_named_folders_reach_the_image() -> None:
    """The build context begins with nothing, so no key or history gets into an image by chance."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    copied = {
        name
        for sources in re.findall(r"^COPY ((?!--from|requirements)\S.*) /src/\S*$", DOCKERFILE, re.MULTILINE)
        for name in sources.split()
    }
    locks = {"requirements/worker.txt", "requirements/build.txt"}
    assert {line[1:] for line in lines if line.startswith("!")} == copied | locks


def test_the_image_has_what_the_wheel_is_built_from() -> None:
    """Each package that the wheel carries is copied for its build; all that is installed comes from a lock by hash."""
    copied = set(re.findall(r"^COPY ([a-z]+) /src/\1$", DOCKERFILE, re.MULTILINE))
    assert copied == {"otpreport", *PACKAGES}
    for command in re.findall(r"pip (?:install|wheel)[^&|;]*", DOCKERFILE):
        assert "--require-hashes" in command or "--no-index" in command
