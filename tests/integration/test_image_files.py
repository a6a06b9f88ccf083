import contextlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Generator
from pathlib import Path

import pytest
import yaml

import config

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


def variables(name: str) -> dict[str, str]:
    """Return the variables of a file under deploy/."""
    lines = (ROOT / "deploy" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def compose() -> dict[str, dict[str, dict[str, object]]]:
    """Return the compose file as docker-compose understands it."""
    resolved = output(tool("docker-compose"), "--file", "docker-compose.yml", "config")
    parsed: dict[str, dict[str, dict[str, object]]] = yaml.safe_load(resolved)
    return parsed


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
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["python:3.11-slim-bookworm"] * 2
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert json.loads(re.findall(r"^ENTRYPOINT (.*)", final, re.MULTILINE)[0]) == ["python", "-m", "worker"]
    assert json.loads(re.findall(r"^CMD (.*)", final, re.MULTILINE)[0]) == ["run"]
    assert "STOPSIGNAL SIGTERM" in final
    assert not re.search(r"apt-get|gcc|build-essential", DOCKERFILE)


@pytest.mark.parametrize(("status", "path", "healthy"), [(200, "/healthz", True), (503, "/healthz", False)])
def test_the_image_s_health_check(status: int, path: str, *, healthy: bool) -> None:
    """HEALTHCHECK is exec form, asks /healthz with Python alone, past any proxy, and believes the status."""
    found = re.search(r"^HEALTHCHECK [^\[]*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found is not None
    program, *arguments = json.loads(found[1])
    assert program == "python"
    with answering(status, path) as port:
        environment = {"OTPREPORT_METRICS_PORT": str(port), "http_proxy": "http://127.0.0.1:9"}
        ended = subprocess.run([sys.executable, *arguments], env=environment, check=False, timeout=60)
    assert (ended.returncode == 0) is healthy


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
    copied = set(re.findall(r"^COPY ([a-z]+) \1$", DOCKERFILE, re.MULTILINE))
    assert {line[1:] for line in lines if line.startswith("!")} == copied | {"requirements/worker.txt"}


def test_compose_has_the_whole_fleet(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    """All services are there, the worker can be scaled: it has no name and no port of the host."""
    assert set(compose["services"]) >= {"redis", "worker", "exporter", "prometheus"}
    worker = compose["services"]["worker"]
    assert worker["command"] == ["run"]
    assert not {"ports", "container_name"} & set(worker)


def test_compose_loses_no_acknowledged_event(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    """Redis syncs each write and drops nothing when full, or events could be lost."""
    command = " ".join(str(word) for word in _words(compose["services"]["redis"]["command"]))
    assert "--appendonly yes" in command
    assert "--appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command


def _words(value: object) -> list[object]:
    assert isinstance(value, list)
    return [*value]  # pyright: ignore[reportUnknownVariableType]: whatever YAML held


def test_the_simulator_is_only_for_the_demo() -> None:
    """Without the profile `demo` no simulator starts."""
    text = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert text["services"]["simulator"]["profiles"] == ["demo"]


def test_prometheus_scrapes_every_worker_and_the_exporter() -> None:
    """Prometheus takes its configuration, finds all workers by their name, and the exporter."""
    output(tool("promtool"), "check", "config", "deploy/prometheus.yml")
    jobs = yaml.safe_load((ROOT / "deploy" / "prometheus.yml").read_text())["scrape_configs"]
    worker, exporter = jobs
    assert worker["dns_sd_configs"][0] | {"refresh_interval": ""} == {
        "names": ["worker"],
        "type": "A",
        "port": 9808,
        "refresh_interval": "",
    }
    assert exporter["static_configs"] == [{"targets": ["exporter:9807"]}]


def test_the_demo_s_settings_and_the_simulator_agree() -> None:
    """The settings of the try-out have no fault, and the simulator knows each key."""
    settings = config.load(variables("demo.env"))
    cloud = tomllib.loads((ROOT / "deploy" / "simulator.toml").read_text())
    known = {(key["provider"], key["id"], key["secret"]) for key in cloud["keys"]}
    env = variables("demo.env")
    names = {"tencent": ("SECRET_ID", "SECRET_KEY"), "alibaba": ("ACCESS_KEY_ID", "ACCESS_KEY_SECRET")}
    used = {
        (
            account.provider,
            *(env[f"OTPREPORT_ACCOUNTS__{name.upper()}__{part}"] for part in names[account.provider]),
        )
        for name, account in settings.accounts.items()
    }
    assert used == known


def test_the_production_example_lacks_only_what_is_to_be_filled_in() -> None:
    """The example has no unknown setting; all that is missing are the ids and, as files, the keys."""
    with pytest.raises(config.SettingsError) as caught:
        config.load(variables("production.env.example"))
    assert {fault.partition(":")[0] for fault in caught.value.faults} == {
        "accounts.tencent.secret_id is missing",
        "accounts.tencent.secret_key is missing",
        "accounts.tencent.sdk_app_id is missing",
        "accounts.alibaba.access_key_id is missing",
        "accounts.alibaba.access_key_secret is missing",
    }
