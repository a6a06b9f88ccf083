"""What the stock command line offers and this worker refuses."""

import pytest
from celery.concurrency.solo import TaskPool

from worker.bridge.options import faults
from worker.bridge.pool import AsyncioPool

QUEUES = ["otpreport.tencent", "otpreport.alibaba"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool": AsyncioPool, "queues": QUEUES, "autoscale": None, "purge": False},
        {"queues": ["otpreport.alibaba"]},
        {"queues": "otpreport.alibaba,otpreport.tencent"},
        {"queues": []},
    ],
)
def test_had(options: dict[str, object]) -> None:
    """What can be had is not refused."""
    assert not list(faults(options, QUEUES))


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"pool": TaskPool}, "-P: otpreport runs on its own pool"),
        ({"autoscale": "9,3"}, "--autoscale: this worker has nothing to scale"),
        ({"beat": True}, "-B: otpreport has nothing to schedule"),
        ({"purge": True}, "--purge: events that wait are not thrown away"),
        (
            {"queues": ["otpreport.tencnet"]},
            "-Q otpreport.tencnet: no account has this queue: did you mean otpreport.tencent?",
        ),
        (
            {"queues": "celery"},
            "-Q celery: no account has this queue: did you mean otpreport.alibaba, otpreport.tencent?",
        ),
    ],
)
def test_refused(options: dict[str, object], line: str) -> None:
    """What can't be had is told in one line that names the option."""
    (fault,) = faults(options, QUEUES)
    assert fault.startswith(line)


def test_settings_of_celery() -> None:
    """A setting of Celery's, given after `--`, is refused by its name; its value may be a secret."""
    (fault,) = faults({}, QUEUES, ["broker.url=redis://:secret@elsewhere/0"])
    assert fault == "broker.url: settings of Celery's can't be changed here: use OTPREPORT_..."


def test_all_at_once() -> None:
    """Every fault is told, not the first alone."""
    options = {"pool": TaskPool, "purge": True, "queues": ["one", "two"]}
    assert len(list(faults(options, QUEUES))) == 4
