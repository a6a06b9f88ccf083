"""The fleet's metrics, as Prometheus would read them."""

import asyncio
import http.client
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import orjson
import redis
from prometheus_client.parser import text_string_to_metric_families

from config.settings import load
from tasks.accounts.states import NAMES
from tasks.keys import Keys
from tests.support.command import ACCOUNTS, ROOT, SECRET, environment
from tests.support.dead import Undertaker
from tests.support.wait import until
from worker.embedded import EmbeddedValkey
from worker.fleet.exporter import Exporter
from worker.groups import derived
from worker.reference.metrics import exporter_metrics

Samples = dict[tuple[str, ...], float]


def scrape(port: int) -> Samples:
    """Return every sample by its name and label values."""
    status, text = get(port, "/metrics")
    assert status == 200
    assert SECRET not in text
    return {
        (sample.name.removeprefix("otpreport_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def get(port: int, path: str) -> tuple[int, str]:
    """Return the status and text of an answer of the exporter."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def track(port: int, account: str, counts: dict[str, Any]) -> None:
    """Write an account's counts of OTPs."""
    with redis.Redis(port=port) as client:
        untyped: Any = client
        untyped.hset(Keys().otps(account), mapping=counts)


@contextmanager
def exporter(url: str, **env: str) -> Generator[tuple[int, subprocess.Popen[bytes]]]:
    """Run an exporter; yield its port, out of its log, and the process."""
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "exporter"],
        env=environment(url, **({"OTPREPORT_METRICS_PORT": "0"} | env)),
        cwd=ROOT,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        try:
            while (line := orjson.loads(process.stderr.readline()))["event"] != "exporter started":
                assert "redis" in line["event"]
            yield line["metrics_port"], process
        finally:
            process.terminate()
            process.wait(20)


def test_the_fleet_is_shown_and_goes_and_comes_with_redis(valkey_server: EmbeddedValkey) -> None:
    """Counts follow Redis; while it is away there are no old figures; after SIGTERM the status is 0."""
    undertaker = Undertaker(valkey_server.port)
    undertaker.bury("tencent", 4)
    undertaker.send("tencent", 10)
    undertaker.lease("tencent", 3)
    undertaker.send("tencnet", 2)
    track(valkey_server.port, "tencent", {"BR:sent": 3, "BR:yes": 1, "BR:no": 1, "unsaid": 1})
    with exporter(valkey_server.url) as (port, process):
        late = {("unserved_queue_events",), ("desired_workers",)}
        samples = until(lambda: s if late <= (s := scrape(port)).keys() else None)
        assert samples is not None
        named = {sample.name for metric in exporter_metrics() for sample in metric.samples}
        assert {f"otpreport_{name}" for name, *_ in samples} == named
        assert samples["redis_up",] == 1
        assert samples["books_gap_events",] == 0
        assert samples["unserved_queue_events",] == 2
        assert samples["workers",] == 2
        assert samples["queue_events", "tencent", "ready"] == 7
        assert samples["queue_events", "tencent", "leased"] == 3
        assert samples["dead_events", "tencent", "exhausted"] == 4
        assert samples["dead_events", "alibaba", "poison"] == 0
        assert samples["books_events", "tencent", "taken"] == 7
        assert samples["oldest_event_age_seconds", "tencent"] > 0
        assert samples["oldest_event_age_seconds", "alibaba"] == 0
        assert samples["rate_limit_per_second", "tencent", "configured"] == 1000
        assert samples["account_state", "tencent", "running"] == 1
        assert samples["account_state", "tencent", "refused"] == 0
        assert samples["otps_closed_total", "tencent", "BR", "yes"] == 1
        assert samples["otps_gap", "tencent"] == 1
        assert ("otps_gap", "alibaba") not in samples
        assert [get(port, path)[0] for path in ("/healthz", "/readyz")] == [200, 200]

        with redis.Redis(port=valkey_server.port) as client:
            [tag, *_] = client.hkeys(undertaker.keys.taken("tencent"))
            client.hdel(undertaker.keys.taken("tencent"), tag)
        until(lambda: scrape(port)["books_gap_events",] == 1)

        valkey_server.kill()
        until(lambda: scrape(port) == {("redis_up",): 0})
        assert [get(port, path)[0] for path in ("/healthz", "/readyz")] == [200, 503]
        valkey_server.start()
        until(lambda: scrape(port).get(("dead_events", "tencent", "exhausted")) == 4)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_an_emptied_redis_is_told_where_no_worker_remembers(url: str, valkey: redis.Redis) -> None:
    """The exporter has seen how far Redis had counted; what it finds at its start is no loss."""
    lost, maintenance = ("redis_lost_timestamp_seconds",), Keys().maintenance
    with exporter(url) as (port, _):
        valkey.hset(maintenance, mapping={"epoch": "1:a", "count": 7})
        until(lambda: orjson.loads(get(port, "/status.json")[1])["memory"]["epoch"] == "1:a")
        assert scrape(port)[lost] == 0
        valkey.delete(maintenance)
        until(lambda: scrape(port)[lost] > 0)


def test_labels_come_from_closed_sets(valkey_server: EmbeddedValkey) -> None:
    """Whatever stands in Redis, no name from there becomes a label: an unknown state is `other`."""
    undertaker = Undertaker(valkey_server.port)
    undertaker.bury("gone", 1)
    with redis.Redis(port=valkey_server.port) as client:
        client.hset(undertaker.keys.account("tencent"), "state", "from-the-future")
        client.lpush("otpreport.evil{name}", b"x")
        client.hincrby(undertaker.keys.dead_reasons, "tencent:made-up", 3)
    with exporter(valkey_server.url) as (port, _):
        samples = scrape(port)
    assert samples["account_state", "tencent", "unknown"] == 1
    values = {value for name in samples for value in name[1:]}
    assert not values & {"gone", "evil{name}", "from-the-future", "made-up"}


def test_what_the_limits_are(valkey_server: EmbeddedValkey) -> None:
    """A shared limit is told as one group, a rate set by hand apart from the settings', each state as a series."""
    second = {
        name.replace("TENCENT", "SECOND"): value for name, value in ACCOUNTS.items() if "TENCENT" in name
    } | {"OTPREPORT_ACCOUNTS__TENCENT__MAX_AGE": "2h"}
    undertaker = Undertaker(valkey_server.port)
    settings = load(environment(valkey_server.url, **second))
    group = settings.accounts["tencent"].rate_group
    with redis.Redis(port=valkey_server.port) as client:
        client.hset(undertaker.keys.rate(group), "override", "400")
        client.hset(undertaker.keys.account("alibaba"), "state", "held")
    with exporter(valkey_server.url, **second) as (port, _):
        samples = scrape(port)
    groups = {name[1:] for name in samples if name[0] == "rate_group_info"}
    assert len(groups) == 3
    assert {account for account, first in groups if first == "tencent"} == {
        "tencent",
        "second",
    }
    assert ("alibaba", "alibaba") in groups
    rates = {
        kind: samples["rate_limit_per_second", "second", kind]
        for kind in ("configured", "allowed", "effective")
    }
    assert rates == {"configured": 1000, "allowed": 400, "effective": 400}
    assert samples["rate_limit_per_second", "alibaba", "allowed"] == 500
    assert samples["event_max_age_seconds", "tencent"] == 7200
    states = {name[2]: value for name, value in samples.items() if name[:2] == ("account_state", "alibaba")}
    assert states == {state: float(state == "paused") for state in NAMES}


def test_a_redis_that_is_away_at_the_start_is_waited_for(valkey_server: EmbeddedValkey) -> None:
    """The exporter serves at once, says what is wrong, and needs no restart."""
    valkey_server.kill()
    with exporter(valkey_server.url) as (port, _):
        assert scrape(port) == {("redis_up",): 0}
        assert get(port, "/readyz") == (503, "redis is unreachable\n")
        valkey_server.start()
        until(lambda: scrape(port)["redis_up",] == 1)


def test_a_taken_port_is_no_fault(valkey_server: EmbeddedValkey) -> None:
    """The next free one is used, and logged, as a warning: a static target names the port that was wanted."""
    with socket.create_server(("0.0.0.0", 0)) as taken:
        wanted = taken.getsockname()[1]
        with exporter(valkey_server.url, OTPREPORT_METRICS_PORT=str(wanted)) as (port, process):
            assert wanted < port < wanted + 100
            assert process.stderr is not None
            line = orjson.loads(process.stderr.readline())
            assert (line["level"], line["event"]) == ("warning", "metrics port in use")
            assert (line["wanted"], line["metrics_port"]) == (wanted, port)


async def test_every_metric_of_the_design_is_there(valkey: redis.Redis) -> None:
    """The names are a contract: other people's dashboards use them."""
    server = f"redis://127.0.0.1:{valkey.connection_pool.connection_kwargs['port']}/0"
    settings = load(environment(server, OTPREPORT_METRICS_PORT="0"))
    subject = Exporter(settings)
    port = await subject.start()
    try:
        samples = await asyncio.to_thread(scrape, port)
    finally:
        await subject.stop()
    assert {name[0] for name in samples} >= {
        "queue_events",
        "oldest_event_age_seconds",
        "dead_events",
        "rate_limit_per_second",
        "account_state",
        "books_events",
        "books_gap_events",
        "workers",
        "redis_up",
    }


async def test_the_groups_that_the_workers_use(valkey_server: EmbeddedValkey) -> None:
    """Those of before a key was rotated, though Redis was away at the start; and others as soon as they change."""
    second = {
        name.replace("TENCENT", "SECOND"): value for name, value in ACCOUNTS.items() if "TENCENT" in name
    }
    settings = load(environment(valkey_server.url, OTPREPORT_METRICS_PORT="0", **second))
    keys = Keys(settings.key_prefix)
    [group] = {one.group for one in derived(settings) if one.account == "tencent"}
    kept, other = (f"tencent:{place}" for place in ("kept", "other"))

    def regroup(account: str, group: str, override: str) -> None:
        with redis.Redis(port=valkey_server.port) as client:
            client.hset(keys.groups, f"@{account}", group)
            client.hset(keys.rate(group), "override", override)

    def seen() -> tuple[float | None, bool]:
        samples = scrape(port)
        shared = ("rate_group_info", "tencent", "second") in {
            (name[0], *sorted(name[1:], reverse=True)) for name in samples
        }
        return samples.get(("rate_limit_per_second", "tencent", "allowed")), shared

    async def shows(allowed: float, *, shared: bool) -> None:
        await asyncio.to_thread(until, lambda: seen() == (allowed, shared))

    regroup("second", group, "900")
    regroup("tencent", kept, "400")
    valkey_server.kill()
    subject = Exporter(settings, interval=0.02, scan_interval=0.05)
    port = await subject.start()
    running = asyncio.create_task(subject.run())
    try:
        valkey_server.start()
        await shows(400, shared=False)
        await asyncio.to_thread(regroup, "tencent", other, "300")
        await shows(300, shared=False)
        await asyncio.to_thread(regroup, "second", other, "200")
        await shows(200, shared=True)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await subject.stop()
