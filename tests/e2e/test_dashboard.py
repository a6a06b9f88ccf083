"""A real Prometheus answers every question of the dashboard, out of a run in which most of what can go wrong does."""

import functools
import math
import re
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from otpreport.wire import queue_name
from tasks.keys import Keys
from tests.support.admin import admin
from tests.support.board import Asked, Json, asked, board, metrics, panels
from tests.support.fleet import ALIBABA, SHORT, TENCENT, Fleet
from tests.support.prometheus import BINARY, Prometheus, Series
from tests.support.wait import until
from tests.support.worker_process import EXPORTER, WorkerProcess

PLAN = {
    "latency": {"base_ms": 100},
    "faults": [
        {"kind": "code", "provider": "tencent", "message_id": "wrong-*", "code": "InvalidParameterValue"},
        {"kind": "unavailable", "message_id": "again-*", "arrivals": 1},
    ],
}
LIMITED = [replace(account, settings={"max_in_flight": 200}) for account in (TENCENT, ALIBABA)]
REFUSED = [{"kind": "code", "provider": "alibaba", "code": "InvalidAccessKeyId.NotFound"}]

ALWAYS_ZERO = {"internal": "counts faults of this program, of which none is known"}
"""Legends whose series are there, but 0 in any run that can be made here, and why."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A Prometheus and the UNIX times between which it saw the run."""

    prometheus: Prometheus
    begin: float
    end: float
    workers: set[str]

    def graph(self, query: Asked, **chosen: str) -> list[Series]:
        """Ask as Grafana would, with what is chosen from the lists at the dashboard's top."""
        return self.prometheus.graph(query.filled(self.begin, self.end, **chosen), self.begin, self.end)

    def fault(self, query: Asked) -> str:
        """Say what is wrong with the answer to a query; empty when it is good."""
        values = [value for series in self.graph(query) for value in series.points.values()]
        if not any(map(math.isfinite, values)):
            return f"{query.panel}: no data: {query.expr}"
        if not any(value for value in values if math.isfinite(value)) and query.legend not in ALWAYS_ZERO:
            return f"{query.panel}: always 0: {query.expr}"
        return ""


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Scrape a run of two workers, the exporter and the simulator."""
    if not shutil.which(BINARY):
        pytest.skip("needs Prometheus: apt-get install prometheus")
    with bad_day(tmp_path_factory.mktemp("dashboard")) as seen:
        yield seen


@contextmanager
def bad_day(folder: Path) -> Generator[Watched]:
    """Let events be delivered, throttled, late, wrong, twice and lost, and a worker, Redis and an account fail."""
    with Fleet(folder, *LIMITED, plan=PLAN, settings=SHORT) as fleet:
        fleet.redis.lpush(queue_name("tencnet"), b"misspelt")
        exporter = fleet.launch(EXPORTER)
        workers = fleet.start_workers(2)
        exporter.wait_until_started()
        jobs = {"worker": [worker.port for worker in workers], "exporter": [exporter.port]}
        with Prometheus(folder / "prometheus", jobs) as prometheus:
            until(lambda: prometheus.query("sum(up)") == {(): 3.0}, pause=0.2)
            begin = time.time()
            trouble_with_events(fleet, workers)
            trouble_with_a_worker(fleet, *workers)
            trouble_with_otps(fleet, prometheus, workers)
            trouble_with_an_account(fleet, prometheus)
            trouble_with_redis(fleet, prometheus)
            addresses = {f"127.0.0.1:{worker.port}" for worker in workers}
            yield Watched(prometheus, begin, time.time(), addresses)


def trouble_with_events(fleet: Fleet, workers: Sequence[WorkerProcess]) -> None:
    """Send some that are wrong, twice there, not to be sent or fail once; let the provider lower its limit."""
    copies = fleet.enqueue(100)
    fleet.enqueue(20, prefix="wrong-")
    fleet.enqueue(50, "alibaba")
    fleet.enqueue(10, "alibaba", prefix="again-")
    fleet.enqueue(20, verified=False)
    fleet.wait_until_settled()
    fleet.push(copies[:20])
    fleet.simulator.change_plan(rates={TENCENT.key: 50})
    fleet.enqueue(300)
    until(lambda: sum(worker.metric("otpreport_attempts_total", result="throttled") for worker in workers))


def trouble_with_a_worker(fleet: Fleet, frozen: WorkerProcess, other: WorkerProcess) -> None:
    """Freeze one with events in its hands until the other has taken them, and let it go on."""
    fleet.simulator.change_plan(rates={}, latency={"base_ms": 500})
    fleet.enqueue(400)
    until(lambda: frozen.metric("otpreport_inflight_requests"))
    frozen.freeze()
    try:
        until(lambda: other.metric("otpreport_events_recovered_total"))
    finally:
        frozen.thaw()
    until(lambda: frozen.metric("otpreport_leases_lost_total"))


def trouble_with_otps(fleet: Fleet, prometheus: Prometheus, workers: Sequence[WorkerProcess]) -> None:
    """Count OTPs, some of them verified, in steps that Prometheus sees; let a notice wait while no worker lives."""
    counts = {
        "BR:sent": 10,
        "BR:verified": 6,
        "BR:yes": 6,
        "BR:no": 4,
        "unsaid": 4,
        "le:30": 6,
        "latency": 90_000,
    }
    for growth in (1, 2, 3):
        for field, count in counts.items():
            admin(fleet.redis).hset(Keys().otps("tencent"), field, growth * count)
        seen = f'otpreport_otps_sent_total{{country="BR"}} == {growth * 10}'
        until(functools.partial(prometheus.query, seen), pause=0.2)
    for worker in workers:
        worker.freeze()
    try:
        fleet.redis.lpush(Keys().notices("tencent"), "verified 1 unknown")
        until(lambda: prometheus.query("otpreport_otp_notice_lag_seconds > 0"), pause=0.2)
    finally:
        for worker in workers:
            worker.thaw()


def trouble_with_an_account(fleet: Fleet, prometheus: Prometheus) -> None:
    """Refuse its key, so that it stops and its events wait; refuse our clock; let the books lose an event."""
    fleet.simulator.change_plan(faults=REFUSED, latency={"base_ms": 20}, clock_offset_s=900.0)
    fleet.enqueue(100, "alibaba")
    fleet.enqueue(20)
    until(lambda: prometheus.query('otpreport_account_state{state="refused"} == 1'), pause=0.2)
    admin(fleet.redis).hincrby("otpreport:books", "tencent:taken", 1)
    until(lambda: prometheus.query("otpreport_books_gap_events == 1"), pause=0.2)
    until(lambda: prometheus.query("otpreport_clock_offset_seconds > 800"), pause=0.2)


def trouble_with_redis(fleet: Fleet, prometheus: Prometheus) -> None:
    """Kill it, and start it again as soon as all have noticed."""
    fleet.valkey.kill()
    until(lambda: prometheus.query("otpreport_redis_up == 0"), pause=0.2)
    until(lambda: prometheus.query("sum(otpreport_redis_errors_total) > 0"), pause=0.2)
    fleet.valkey.start()
    until(lambda: prometheus.query("otpreport_redis_up == 1"), pause=0.2)


def test_every_question_is_answered(watched: Watched) -> None:
    """Each query of each panel returns figures, and not only zeros: so its metrics, labels and values are real."""
    faults = [fault for panel in panels() for query in asked(panel) if (fault := watched.fault(query))]
    assert not faults, "\n".join(faults)


def test_every_legend_is_filled(watched: Watched) -> None:
    """Each series has the labels that its legend names, and within a panel the names differ."""
    for panel in panels():
        names = [query.name(series) for query in asked(panel) for series in watched.graph(query)]
        assert names
        assert len(set(names)) == len(names), names


def test_what_has_a_look_of_its_own_is_drawn(watched: Watched) -> None:
    """Each name that a panel gives a colour or a dashed line to is a series of it."""
    for panel in panels():
        names = {query.name(series) for query in asked(panel) for series in watched.graph(query)}
        for matcher in (override["matcher"] for override in panel["fieldConfig"]["overrides"]):
            pattern = (
                matcher["options"].strip("/") if matcher["id"] == "byRegexp" else f"^{matcher['options']}$"
            )
            assert any(re.search(pattern, name) for name in names), panel["title"]


def test_the_timelines_have_words_for_what_they_show(watched: Watched) -> None:
    """Each value of a state timeline is one that has a name; the account whose key was refused was seen stopped."""
    shown = {panel["title"]: words(watched, panel) for panel in panels() if panel["type"] == "state-timeline"}
    assert shown["Redis availability"]["Redis"] == {"up", "down"}
    assert "refused" in shown["Account states"]["alibaba"]
    assert "running" in shown["Account states"]["tencent"]


def words(watched: Watched, panel: Json) -> dict[str, set[str]]:
    """Return which names of values each series of a timeline has."""
    [mapping] = panel["fieldConfig"]["defaults"]["mappings"]
    texts = {float(value): named["text"] for value, named in mapping["options"].items()}
    return {
        query.name(series): {texts[value] for value in series.points.values()}
        for query in asked(panel)
        for series in watched.graph(query)
    }


def test_a_choice_narrows_every_graph(watched: Watched) -> None:
    """With one account and one worker chosen nothing is shown of the others; the lists offer what there is."""
    for variable in board()["templating"]["list"][1:]:
        metric, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").split(", ")
        offered = watched.prometheus.label_values(label, metric)
        assert offered == ({"tencent", "alibaba"} if label == "account" else watched.workers)
    worker = min(watched.workers)
    for panel in panels():
        for query in asked(panel):
            for series in watched.graph(query, account="tencent", instance=worker):
                assert series.labels.get("account", "tencent") == "tencent", query
                assert series.labels.get("instance", worker) == worker, query


def test_every_metric_exists(watched: Watched) -> None:
    """Each name in the expressions is one that was scraped, so that none hides behind an `or`."""
    scraped = watched.prometheus.label_values("__name__", '{job=~".+"}')
    named = {name for panel in panels() for query in asked(panel) for name in metrics(query.expr)}
    assert named <= scraped


def test_alerts_are_asked_for(watched: Watched) -> None:
    """Prometheus understands the question for firing alerts; no rules are loaded here, so none fires."""
    [alerts] = board()["annotations"]["list"]
    assert watched.prometheus.graph(alerts["expr"], watched.begin, watched.end) == []


def test_a_bad_question_is_seen(watched: Watched) -> None:
    """A misspelt metric, a label's wrong value and a legend's wrong label are each found by what is checked above."""
    good = Asked("made up", 'otpreport_account_state{state="refused"}', "{{account}}")
    assert not watched.fault(good)
    assert "no data" in watched.fault(replace(good, expr="otpreport_acount_state{}"))
    assert "no data" in watched.fault(replace(good, expr='otpreport_account_state{state="refussed"}'))
    assert "always 0" in watched.fault(replace(good, expr='otpreport_account_state{state="unknown"}'))
    with pytest.raises(KeyError):
        replace(good, legend="{{acount}}").name(watched.graph(good)[0])
