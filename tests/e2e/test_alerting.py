"""From a fault to a person: real processes, the rules that are shipped, a real Prometheus and Alertmanager."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import alertmanager, prometheus
from tests.support.alertmanager import Alertmanager, Listener
from tests.support.alerts import RULES, read
from tests.support.fleet import ALIBABA, LONG, TENCENT, Fleet
from tests.support.prometheus import Prometheus
from tests.support.wait import until
from tests.support.worker_process import EXPORTER

REFUSED = {"kind": "code", "message_id": "refused-*", "code": "AuthFailure.SecretIdNotFound"}

BUSY = {"OtpreportEventLoopLag"}
"""What a machine that also does other work may well fire."""


def need(binary: str) -> None:
    """Skip the test where a program is missing."""
    if not shutil.which(binary):
        pytest.skip(f"needs {binary}: apt-get install {binary}")


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Yield somebody who is told."""
    with Listener() as listener:
        yield listener


def at_once(folder: Path) -> Path:
    """Return a file of the rules without the minutes that a fault has to last, or that lie between two looks."""
    rules = read(RULES)
    for group in rules["groups"]:
        group.pop("interval", None)
        for rule in group["rules"]:
            rule.pop("for", None)
    path = folder / "alerts.yml"
    path.write_text(json.dumps(rules))
    return path


def test_a_fault_reaches_who_is_on_call(tmp_path: Path, listener: Listener) -> None:
    """A fleet that is well is silent; an account that is refused, and Redis' death, are told in plain words."""
    need(prometheus.BINARY)
    need(alertmanager.BINARY)
    plan = {"faults": [REFUSED]}
    with (
        Fleet(tmp_path, TENCENT, ALIBABA, plan=plan, settings=LONG) as fleet,
        Alertmanager(tmp_path / "alertmanager", listener) as manager,
    ):
        ports = [process.port for process in (fleet.start_worker(), fleet.start_worker(EXPORTER))]
        jobs = {"worker": ports[:1], "exporter": ports[1:]}
        rules = at_once(tmp_path)
        with Prometheus(tmp_path / "prometheus", jobs, rules=rules, alertmanager=manager.port) as watching:
            fleet.enqueue(200)
            fleet.wait_until_settled()
            until(
                lambda: watching.query("sum(otpreport_books_events)") and not watching.rule_faults(),
                pause=0.2,
            )
            until(lambda: watching.firing().keys() <= BUSY, pause=0.2)

            fleet.enqueue(1, prefix="refused-")
            until(lambda: "OtpreportAccountRefused" in listener.names(account="tencent"), pause=0.1)
            [told, *_] = [told for told in listener.told if told.name == "OtpreportAccountRefused"]
            assert (told.receiver, told.status) == ("on-call", "firing")
            assert told.annotations["summary"] == "Account tencent is refused by its provider"
            assert "OtpreportAccountRefused" not in listener.names(account="alibaba")

            fleet.valkey.kill()
            until(lambda: "OtpreportRedisDown" in listener.names(severity="critical"), pause=0.1)


STOPPED = {"alertname": "OtpreportAccountRefused", "severity": "critical", "account": "tencent"}
OLD = {"alertname": "OtpreportOldestEvent", "severity": "warning", "account": "tencent"}
OTHER = OLD | {"account": "alibaba"}
DOWN = {"alertname": "OtpreportRedisDown", "severity": "critical"}


def told(listener: Listener) -> set[tuple[str, str]]:
    """Return the alerts that were told: name and account."""
    return {(told.name, told.labels.get("account", "")) for told in list(listener.told)}


def key(alert: dict[str, str]) -> tuple[str, str]:
    """Return an alert's name and account."""
    return alert["alertname"], alert.get("account", "")


def test_what_follows_from_another_alert_is_not_told(tmp_path: Path, listener: Listener) -> None:
    """A stopped account's old events are no news, another account's are; and nothing is beside Redis' death."""
    need(alertmanager.BINARY)
    with Alertmanager(tmp_path / "alertmanager", listener) as manager:
        manager.post([STOPPED, OLD, OTHER])
        until(lambda: manager.held_back() == {key(OLD)})
        until(lambda: told(listener) == {key(STOPPED), key(OTHER)})
        manager.post([DOWN])
        until(lambda: manager.held_back() == {key(STOPPED), key(OLD), key(OTHER)})
        until(lambda: key(DOWN) in told(listener))
        assert key(OLD) not in told(listener)


def test_another_redis_holds_nothing_back(tmp_path: Path, listener: Listener) -> None:
    """Without the Redis of one fleet nothing moves there; what is wrong in the other is told."""
    need(alertmanager.BINARY)
    here, there = {"fleet": "a"}, {"fleet": "b"}
    with Alertmanager(tmp_path / "alertmanager", listener) as manager:
        manager.post([DOWN | there, OLD | here, OTHER | there])
        until(lambda: manager.held_back() == {key(OTHER)})
        until(lambda: told(listener) == {key(DOWN), key(OLD)})


def test_without_inhibition_it_would_be_told(tmp_path: Path, listener: Listener) -> None:
    """It is Alertmanager's rules that hold it back, nothing else."""
    need(alertmanager.BINARY)
    with Alertmanager(tmp_path / "alertmanager", listener, inhibiting=False) as manager:
        manager.post([STOPPED, OLD, OTHER])
        until(lambda: told(listener) == {key(STOPPED), key(OLD), key(OTHER)})
        assert manager.held_back() == set()
