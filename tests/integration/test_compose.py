"""The compose files: hardened, durable, closed to the outside, and what they start works with one another."""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs, reportMissingModuleSource]
import pytest
import redis
import yaml
from redis.exceptions import NoPermissionError

import config
from config.settings import EXPORTER_PORT, Settings
from tests.support.command import call_in
from tests.support.key_settings import key_settings
from tests.support.redis_servers import DEBIANS, documented_rights, needs_debians
from tests.support.wait import until
from worker.embedded import free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = {
    "production": ["docker-compose.yml"],
    "demo": ["docker-compose.yml", "docker-compose.demo.yml"],
}
FLEET = {"redis", "worker", "exporter", "operator", "prometheus", "grafana", "alertmanager"}

SOUND = ("redis", "server", "access", "rights", "durability", "eviction")
PAUSE = ("accounts", "pause", "tencent", "--reason", "x")

Service = dict[str, Any]
Compose = dict[str, dict[str, Service]]

needs_compose = pytest.mark.skipif(shutil.which("docker-compose") is None, reason="needs docker-compose")


@cache
def compose(kind: str) -> Compose:
    """Return the files as docker-compose understands them; treat it as frozen."""
    files = [word for name in FILES[kind] for word in ("--file", name)]
    ended = subprocess.run(
        ["docker-compose", *files, "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return cast("Compose", yaml.safe_load(ended.stdout))


@pytest.fixture(params=FILES)
def services(request: pytest.FixtureRequest) -> dict[str, Service]:
    """Return the services for real, then those of the try-out."""
    return compose(request.param)["services"]


def _open(name: str, service: Service) -> list[str]:
    """Return what is not closed of a service, though nothing there needs it."""
    faults = [
        *(["root"] if not re.fullmatch(r"[1-9]\d*:\d+", service.get("user", "")) else []),
        *(["capabilities"] if service.get("cap_drop") != ["ALL"] or service.get("cap_add") else []),
        *(["rights"] if service.get("security_opt") != ["no-new-privileges:true"] else []),
        *(["writable root"] if service.get("read_only") is not True else []),
        *(["memory"] if not service.get("mem_limit") else []),
        *(["cpu"] if not service.get("cpus") else []),
        *(["processes"] if not service.get("pids_limit") else []),
        *(["limits"] if not {"core", "nofile"} <= service.get("ulimits", {}).keys() else []),
        *(
            ["restart"]
            if service.get("restart") != ("no" if service.get("profiles") else "unless-stopped")
            else []
        ),
        *(["health"] if not service.get("healthcheck") and service.get("image") != "otpreport" else []),
        *(["network of its own"] if not service.get("networks") else []),
        *(["privileged"] if service.get("privileged") or service.get("network_mode") else []),
    ]
    ports: list[str] = service.get("ports", [])
    faults += [f"port {port}" for port in ports if not str(port).startswith("127.0.0.1:")]
    secrets = re.compile(r"(?i)password|secret|token")
    variables: dict[str, str | None] = service.get("environment", {})
    faults += [
        f"{name}'s {variable}"
        for variable, value in variables.items()
        if secrets.search(variable) and not str(value).startswith("/run/")
    ]
    return faults


@needs_compose
def test_every_service_is_closed(services: dict[str, Service]) -> None:
    """No service runs as root, gains a right, writes to its image, has no limit, or is open to other machines."""
    assert {name: faults for name, service in services.items() if (faults := _open(name, service))} == {}


@pytest.mark.parametrize("name", FILES["demo"])
def test_compose_2_reads_it_too(name: str) -> None:
    """Each file fits the schema of Compose 2, though docker-compose 1.29 reads it."""
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    checker: Any = jsonschema.Draft7Validator
    validator = checker(schema)
    assert [error.message for error in validator.iter_errors(yaml.safe_load((ROOT / name).read_text()))] == []
    assert not validator.is_valid({"services": {"redis": {"imagine": "redis"}}})


def test_an_open_service_is_seen() -> None:
    """A service with none of the precautions has every fault."""
    service = {"ports": ["0.0.0.0:1:1"], "environment": {"A_PASSWORD": "x"}, "privileged": True}
    assert len(_open("bare", service)) == 14


@needs_compose
def test_the_whole_fleet_is_there(services: dict[str, Service]) -> None:
    """All services are there, the worker can be scaled: it has no name and no port of the host."""
    assert set(services) >= FLEET
    assert services["worker"]["command"] == ["run"]
    assert not {"ports", "container_name"} & set(services["worker"])


@needs_compose
def test_the_simulator_is_only_for_the_try_out() -> None:
    """For real there are no made-up events, no simulator, no file of the try-out, and no way to Redis from outside."""
    real, demo = compose("production"), compose("demo")
    assert set(demo["services"]) - set(real["services"]) == {"simulator", "producer"}
    assert "deploy/demo" not in yaml.safe_dump(real)
    assert "deploy/production" not in yaml.safe_dump(demo)
    assert "ports" not in real["services"]["redis"]


@needs_compose
def test_redis_has_no_way_out_and_workers_do() -> None:
    """Redis is in an inner network alone, which the web apps join; workers have a way to the providers."""
    real: Any = compose("production")
    inner = {name for name, network in real["networks"].items() if network.get("internal")}
    assert set(real["services"]["redis"]["networks"]) == {"queue"} <= inner
    assert real["networks"]["queue"]["name"] == "otpreport-queue"
    assert set(real["services"]["worker"]["networks"]) - inner == {"providers"}
    published = [name for name, service in real["services"].items() if service.get("ports")]
    # or no port would be open
    assert all(set(real["services"][name]["networks"]) - inner for name in published)


@needs_compose
def test_a_worker_has_the_time_it_needs_to_stop(services: dict[str, Service]) -> None:
    """Docker kills a worker later than it gives up by itself."""
    grace = Settings.model_fields["grace"].default
    assert int(services["worker"]["stop_grace_period"].removesuffix("s")) >= grace + 10


@needs_compose
def test_ports_are_those_of_the_settings(services: dict[str, Service]) -> None:
    """The exporter takes its own port, the worker the default."""
    assert services["exporter"]["environment"]["OTPREPORT_METRICS_PORT"] == str(EXPORTER_PORT)
    assert services["exporter"]["ports"] == [f"127.0.0.1:{EXPORTER_PORT}:{EXPORTER_PORT}/tcp"]
    assert services["worker"]["expose"] == [str(Settings.model_fields["metrics_port"].default)]


@needs_compose
def test_redis_loses_no_acknowledged_event(services: dict[str, Service]) -> None:
    """Redis syncs each write and drops nothing when full, or events could be lost; its memory holds a rewrite."""
    command = " ".join(services["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--appendfsync always" in command
    assert "--maxmemory-policy noeviction" in command
    limit = re.search(r"--maxmemory (\d+)gb", command)
    assert limit is not None
    assert int(services["redis"]["mem_limit"].removesuffix("g")) >= 2 * int(limit[1])


def test_prometheus_scrapes_every_worker_and_the_exporter() -> None:
    """Prometheus finds all workers by their name, and the exporter, and knows that they are of one fleet."""
    jobs = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job for job in jobs}
    (worker,) = targets["otpreport-worker"]["dns_sd_configs"]
    assert (worker["names"], worker["type"], worker["port"]) == (["worker"], "A", 9808)
    [fleet] = targets["otpreport-worker"]["relabel_configs"]
    assert targets["otpreport-exporter"]["static_configs"] == [
        {"targets": [f"exporter:{EXPORTER_PORT}"], "labels": {fleet["target_label"]: fleet["replacement"]}}
    ]


# The files that are mounted: as the containers see them.


def mounted(service: Service, secrets: dict[str, Service]) -> dict[str, Path]:
    """Return what a service finds where, and the files of this machine behind it."""
    volumes: list[str | Service] = service.get("volumes", [])
    binds: dict[str, Path] = {}
    for volume in volumes:
        if not isinstance(volume, str):
            binds[volume["target"]] = Path(volume["source"])
    own: list[Any] = service.get("secrets", [])
    for secret in own:
        name, target = (
            (secret, secret) if isinstance(secret, str) else (secret["source"], secret.get("target"))
        )
        binds[f"/run/secrets/{target or name}"] = Path(secrets[name]["file"])
    return binds


def located(text: str, files: dict[str, Path]) -> str:
    """Return a path of a container as one of this machine, or the text as it is."""
    return str(files[text]) if text in files else text


def demo_service(name: str) -> tuple[Service, dict[str, Path]]:
    """Return a service of the try-out, and the files it finds."""
    demo = compose("demo")
    service = demo["services"][name]
    return service, mounted(service, demo["secrets"])


def settings_of(name: str, port: int | None = None) -> dict[str, str]:
    """Return the environment of a service of the try-out, with Redis at a port of this machine."""
    service, files = demo_service(name)
    environment = {
        variable: located(str(value), files)
        for variable, value in service["environment"].items()
        if variable != "OTPREPORT_METRICS_PORT"
    }
    if port is None:
        return environment
    url = Path(environment.pop("OTPREPORT_REDIS_URL_FILE")).read_text().strip()
    return environment | {"OTPREPORT_REDIS_URL": url.replace("@redis:6379", f"@127.0.0.1:{port}")}


@needs_compose
@pytest.mark.parametrize("name", ["worker", "operator"])
def test_the_settings_and_the_simulator_agree(name: str) -> None:
    """The settings of the try-out have no fault, and the simulator knows each key."""
    settings = config.load(settings_of(name))
    cloud = tomllib.loads((DEPLOY / "demo" / "simulator.toml").read_text())
    known = {(key["provider"], key["id"], key["secret"]) for key in cloud["keys"]}
    names = {"tencent": ("secret_id", "secret_key"), "alibaba": ("access_key_id", "access_key_secret")}
    used: set[tuple[str, str, str]] = set()
    for account in settings.accounts.values():
        key_id, key = (getattr(account.options, part) for part in names[account.provider])
        used.add((account.provider, key_id, key.get_secret_value()))
    assert used == known
    assert settings.redis_url.get_secret_value().endswith("@redis:6379/0")


@pytest.mark.parametrize("name", ["production/otpreport.toml.example", "demo/otpreport.toml"])
def test_no_key_id_stands_where_a_worker_does_not_see_it_change(name: str) -> None:
    """A single file that is mounted shows its old text for ever: the id is beside the secret, in the folder of keys."""
    assert key_settings((DEPLOY / name).read_text()) == []


def test_a_key_id_in_the_toml_file_is_seen() -> None:
    """The check finds an id, also one that is yet to be filled in."""
    text = """
        accounts.a = {provider = "tencent", secret_id = "", sdk_app_id = "1400000001"}
        accounts.b = {provider = "alibaba", access_key_id = "LTAI"}
    """
    assert key_settings(text) == ["a.secret_id", "b.access_key_id"]


@needs_compose
@pytest.mark.parametrize("name", ["worker", "operator"])
def test_a_key_and_its_id_come_from_one_folder(name: str) -> None:
    """For real as in the try-out the folder of keys is mounted whole, and what the settings know of keys is in it."""
    for kind in FILES:
        service = compose(kind)["services"][name]
        keys = mounted(service, compose(kind)["secrets"])[service["environment"]["OTPREPORT_SECRETS_DIR"]]
        assert keys == DEPLOY / kind / "secrets" / "keys"
    assert {file.name for file in (DEPLOY / "demo" / "secrets" / "keys").iterdir()} == {
        "otpreport_accounts__tencent__secret_id",
        "otpreport_accounts__tencent__secret_key",
        "otpreport_accounts__alibaba__access_key_id",
        "otpreport_accounts__alibaba__access_key_secret",
    }


def test_the_production_example_lacks_only_what_is_to_be_filled_in() -> None:
    """The example has no unknown setting; all that is missing are the app id and, as files, the keys and their ids."""
    example = DEPLOY / "production" / "otpreport.toml.example"
    with pytest.raises(config.SettingsError) as caught:
        config.load({"OTPREPORT_CONFIG": str(example), "OTPREPORT_REDIS_URL": "redis://redis"})
    assert {fault.partition(":")[0] for fault in caught.value.faults} == {
        "accounts.tencent.secret_id is missing",
        "accounts.tencent.secret_key is missing",
        "accounts.tencent.sdk_app_id is missing",
        "accounts.alibaba.access_key_id is missing",
        "accounts.alibaba.access_key_secret is missing",
    }


@contextmanager
def composed_redis(folder: Path) -> Generator[int]:
    """Run Redis by the try-out's command and users; yield its port."""
    service, files = demo_service("redis")
    program, *arguments = service["command"]
    assert program == "redis-server"
    words = [located(word, files).replace("/data", str(folder)) for word in arguments]
    port = free_port()
    with subprocess.Popen(
        [str(DEBIANS), *words, "--port", str(port), "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
    ) as process:
        try:
            until(lambda: not healthy(port).returncode)
            yield port
        finally:
            process.terminate()


def healthy(port: int) -> subprocess.CompletedProcess[str]:
    """Ask Redis what its container's health check asks."""
    return subprocess.run(
        ["sh", "-c", health_check(port)], capture_output=True, text=True, check=False, timeout=30
    )


def health_check(port: int) -> str:
    """Return the command of the health check, for a Redis on this port."""
    service, files = demo_service("redis")
    kind, command = service["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    secret = "/run/secrets/health_password"
    here = str(command).replace("$$", "$").replace(secret, str(files[secret]))
    return here.replace("redis-cli ", f"redis-cli -p {port} ")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run the try-out's Redis for this module; yield its port."""
    with composed_redis(tmp_path_factory.mktemp("redis")) as port:
        yield port


@needs_compose
@needs_debians
def test_redis_is_as_workers_want_it(served: int) -> None:
    """`check`, with the operator's user, finds a Redis that is fit and keeps what it is given."""
    ran = call_in(settings_of("operator", served), "check", "--json")
    levels = {finding["name"]: finding["level"] for finding in ran.json["findings"]}
    assert [levels[name] for name in SOUND] == ["ok"] * len(SOUND)


@needs_compose
def test_who_is_asked_over_http_has_no_key(services: dict[str, Service]) -> None:
    """The exporter finds its settings and the password of a user of its own, and nothing else of ours."""
    exporter = services["exporter"]
    assert "OTPREPORT_SECRETS_DIR" not in exporter["environment"]
    assert [volume["target"] for volume in exporter["volumes"]] == ["/etc/otpreport.toml"]
    assert exporter["secrets"] == [{"source": "exporter_redis_url", "target": "redis_url"}]


@needs_compose
@needs_debians
def test_the_exporter_looks_on(served: int) -> None:
    """With what it finds it sees the fleet, and can't hold an account, even with the keys."""
    assert call_in(settings_of("exporter", served), "status").status == 0
    url = settings_of("exporter", served)["OTPREPORT_REDIS_URL"]
    ran = call_in(settings_of("operator", served) | {"OTPREPORT_REDIS_URL": url}, *PAUSE)
    assert (ran.status, "forbids user otpreport-exporter" in ran.line) == (2, True)


@needs_compose
@needs_debians
def test_the_operator_s_service_acts(served: int) -> None:
    """It is there for one command, publishes nothing, starts no other service, and may change what people change."""
    operator = compose("demo")["services"]["operator"]
    assert operator["profiles"] == ["operator"]
    assert not {"ports", "expose", "depends_on"} & operator.keys()
    for command in (PAUSE, ("accounts", "resume", "tencent"), ("dead", "list"), ("audit",)):
        assert call_in(settings_of("operator", served), *command).status == 0


@needs_compose
@needs_debians
def test_the_web_app_s_user_may_send_and_not_read(served: int) -> None:
    """Who has broken into the web app can't read the queue or a dead letter."""
    _, files = demo_service("producer")
    url = files["/run/secrets/redis_url"].read_text().strip().replace("@redis:6379", f"@127.0.0.1:{served}")
    with untyped(url) as web:
        assert web.execute_command("LPUSH", "otpreport.nobody", "x") == 1
        for command in (("LRANGE", "otpreport.nobody", "0", "-1"), ("HGETALL", "otpreport:dead:tencent")):
            with pytest.raises(NoPermissionError):
                web.execute_command(*command)


# What backing up, restoring and switching take, as docs/operations.md and docs/scaling.md have it.
OF_AN_ADMIN = [
    ("CONFIG", "SET", "auto-aof-rewrite-percentage", "100"),
    ("BGREWRITEAOF",),
    ("CLIENT", "PAUSE", "1", "WRITE"),
    ("CLIENT", "UNPAUSE"),
    ("REPLICAOF", "NO", "ONE"),
]


@needs_compose
@needs_debians
def test_backing_up_and_switching_take_the_admin(served: int) -> None:
    """The admin may do each of it and fetch all data; the operator none of it, and look around."""
    secrets = DEPLOY / "demo" / "secrets"
    admin, operator = (
        (secrets / f"{user}-redis-url").read_text().strip().replace("@redis:6379", f"@127.0.0.1:{served}")
        for user in ("admin", "operator")
    )
    with untyped(admin) as client:
        for command in OF_AN_ADMIN:
            assert client.execute_command(*command)
    with untyped(operator) as client:
        for command in OF_AN_ADMIN:
            with pytest.raises(NoPermissionError):
                client.execute_command(*command)
        for command in (("CLIENT", "LIST"), ("SLOWLOG", "GET", "1"), ("LATENCY", "LATEST")):
            client.execute_command(*command)
    assert backup(admin).startswith(b"REDIS")
    assert not backup(operator)


def backup(url: str) -> bytes:
    """Return what `redis-cli --rdb -` fetches."""
    return subprocess.run(
        ["redis-cli", "-u", url, "--rdb", "-"], capture_output=True, check=False, timeout=60
    ).stdout


@needs_compose
@pytest.mark.parametrize("kind", FILES)
def test_no_service_has_the_admin_s_password(kind: str) -> None:
    """Who breaks into a container gets no user with all rights; the others' URLs are there."""
    text = yaml.safe_dump(compose(kind))
    assert "operator-redis-url" in text
    assert "admin-redis-url" not in text


@needs_compose
def test_alertmanager_finds_the_mail_server_s_password(services: dict[str, Service]) -> None:
    """The file that its examples name is one of its secrets."""
    named = re.search(r"smtp_auth_password_file: \"(.+)\"", (DEPLOY / "alertmanager.yml").read_text())
    assert named is not None
    secrets: list[Any] = services["alertmanager"]["secrets"]
    names = [secret if isinstance(secret, str) else secret["source"] for secret in secrets]
    assert f"/run/secrets/{names[0]}" == named[1]


def untyped(url: str) -> Any:
    """Return a client, untyped, for redis-py types its commands in part."""
    client: Any = redis.Redis
    return client.from_url(url)


@needs_compose
@needs_debians
def test_the_health_check_takes_no_error_for_health(served: int) -> None:
    """A Redis that answers with an error, as while it loads, is not healthy."""
    assert not healthy(served).returncode
    refused = health_check(served).removesuffix("ping") + "get x"
    assert subprocess.run(["sh", "-c", refused], capture_output=True, check=False, timeout=30).returncode
    without = refused.replace(" -e ", " ")
    assert not subprocess.run(["sh", "-c", without], capture_output=True, check=False, timeout=30).returncode


@needs_compose
@needs_debians
def test_nobody_gets_in_without_a_password(served: int) -> None:
    """Not even to ping: of who has not logged in Redis takes no large request, which would fill its memory."""
    with pytest.raises(redis.AuthenticationError), untyped(f"redis://127.0.0.1:{served}") as client:
        client.ping()
    with socket.create_connection(("127.0.0.1", served), 10) as stranger:
        stranger.sendall(b"*2\r\n$4\r\nPING\r\n$100000\r\n")
        assert b"unauthenticated bulk length" in stranger.recv(200)


@needs_compose
@needs_debians
def test_the_producer_sends_to_every_account(served: int, tmp_path: Path) -> None:
    """The try-out's own events arrive in the queue of each of its accounts."""
    service, files = demo_service("producer")
    program, script = service["entrypoint"]
    assert program == "python"
    url = tmp_path / "url"
    url.write_text(files["/run/secrets/redis_url"].read_text().replace("@redis:6379", f"@127.0.0.1:{served}"))
    operator = settings_of("operator", served)["OTPREPORT_REDIS_URL"]
    environment = {"PYTHONPATH": str(ROOT), "REDIS_URL_FILE": str(url)}
    with subprocess.Popen([sys.executable, str(files[script])], env=environment) as process:
        try:
            with untyped(operator) as client:
                accounts = config.load(settings_of("worker")).accounts
                until(lambda: all(client.execute_command("LLEN", f"otpreport.{name}") for name in accounts))
        finally:
            process.terminate()


# Redis' users.


@pytest.mark.parametrize(
    "user", ["otpreport-worker", "otpreport-web", "otpreport-exporter", "otpreport-operator"]
)
def test_rights_are_those_of_the_docs(user: str) -> None:
    """The users of a container's Redis have the rights that docs/scaling.md gives, and its tests prove.

    After a change there: the same in deploy/redis-users.acl, then `sh deploy/make-secrets deploy/demo/secrets`.
    """
    found = re.search(rf"^user {user} (.*)$", (DEPLOY / "redis-users.acl").read_text(), re.MULTILINE)
    assert found is not None
    words = [word for word in documented_rights(user) if not word.startswith(">")]
    assert [word for word in found[1].split() if not word.startswith("#")] == words


def make_secrets(folder: Path) -> dict[str, str]:
    """Run deploy/make-secrets and return the files."""
    subprocess.run(
        ["sh", str(DEPLOY / "make-secrets"), str(folder)], check=True, capture_output=True, timeout=30
    )
    return {file.name: file.read_text() for file in folder.iterdir() if file.is_file()}


def test_secrets_are_random_and_kept(tmp_path: Path) -> None:
    """Each folder gets passwords of its own; once more keeps them; Redis is told their hashes alone."""
    first, other = make_secrets(tmp_path / "first"), make_secrets(tmp_path / "other")
    assert (tmp_path / "first").stat().st_mode & 0o777 == 0o700
    assert make_secrets(tmp_path / "first") == first
    assert first["smtp-password"] == ""
    for user in ("worker", "exporter", "operator", "web", "admin"):
        name = f"{user}-redis-url"
        assert first[name] != other[name]
        found = re.fullmatch(rf"redis://otpreport-{user}:([0-9a-f]{{48}})@redis:6379/0\n", first[name])
        assert found is not None
        assert found[1] not in first["users.acl"]
        assert (
            f"user otpreport-{user} on #{hashlib.sha256(found[1].encode()).hexdigest()} "
            in first["users.acl"]
        )


def test_a_folder_that_was_there_is_closed(tmp_path: Path) -> None:
    """Passwords are not put where others can read them, though the folder was open; containers still read the keys."""
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)  # whatever the umask is
    make_secrets(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "keys").stat().st_mode & 0o777 == 0o755


def test_the_try_out_has_this_release_s_rights(tmp_path: Path) -> None:
    """The committed files of the try-out are what deploy/make-secrets makes of them."""
    committed = DEPLOY / "demo" / "secrets"
    shutil.copytree(committed, tmp_path / "demo")
    made = make_secrets(tmp_path / "demo")
    assert made == {file.name: file.read_text() for file in committed.iterdir() if file.is_file()}
