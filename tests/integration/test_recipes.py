"""The recipes for what is between a commit and its report, with real databases and `kill -9`."""

import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import cast

import pytest
import redis

from tests.support.admin import admin
from tests.support.events import event_of
from tests.support.made import made
from tests.support.postgres import Postgres
from tests.support.recipe_app import MANY, STACKS

ROOT = Path(__file__).parents[2]
QUEUE = "otpreport.tencent"
BATCH = 200
"""Of the recipes."""


class Recipes:
    """An app on one database and one Redis; each scenario is a process of its own."""

    def __init__(
        self, stack: str, database: Path | str, url: str, valkey: redis.Redis, python: str = sys.executable
    ) -> None:
        self._command = [python, "-m", "tests.support.recipe_app", stack, str(database), url]
        self._database = database
        self._valkey = valkey

    def run(self, scenario: str) -> str:
        """Run a scenario to its end; return what it printed."""
        done = self._start(scenario)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run_to_its_death(self, scenario: str) -> None:
        """Run a scenario that kills its process."""
        assert self._start(scenario).returncode == -signal.SIGKILL

    def _start(self, scenario: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(
            [str(ROOT), str(ROOT / "examples" / "recipes"), *os.environ.get("PYTHONPATH", "").split()]
        )
        return subprocess.run(
            [*self._command, scenario],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def logins(self) -> list[str]:
        """The logins in the database."""
        return self._names("SELECT name FROM login ORDER BY rowid")

    @property
    def kept(self) -> int:
        """How many events wait in the outbox."""
        table = "recipes_outgoingevent" if "django" in self._command else "outgoing_event"
        return len(self._names(f"SELECT id FROM {table}"))

    @property
    def reported(self) -> list[str]:
        """The events on the queue, the oldest first."""
        messages = cast("list[bytes]", admin(self._valkey).lrange(QUEUE, 0, -1))
        return [event_of(raw).message_id for raw in reversed(messages)]

    def _names(self, query: str) -> list[str]:
        database = sqlite3.connect(self._database)
        try:
            return [row[0] for row in database.execute(query)]
        finally:
            database.close()


@pytest.fixture(params=STACKS)
def recipes(request: pytest.FixtureRequest, tmp_path: Path, url: str, valkey: redis.Redis) -> Recipes:
    """Return an app of each framework."""
    if not importlib.util.find_spec(request.param):
        pytest.skip(f"{request.param} is not installed")
    return Recipes(request.param, tmp_path / "app.sqlite3", url, valkey)


@pytest.mark.parametrize(
    ("scenario", "names"),
    [
        ("commit", ["first", "second"]),
        ("rollback", ["first"]),
        ("savepoints", ["first", "second"]),
        ("released", []),
        ("abandoned", ["first"]),
    ],
)
def test_on_commit(scenario: str, names: list[str], recipes: Recipes) -> None:
    """What the database has was reported, in its order, and nothing else."""
    recipes.run(scenario)
    assert recipes.logins == recipes.reported == names


def test_a_kill_after_the_commit_loses_the_report(recipes: Recipes) -> None:
    """This is what `on_commit` can't do, and what the outbox is for (its negative control)."""
    recipes.run_to_its_death("killed")
    assert (recipes.logins, recipes.reported) == (["first"], [])


def test_the_outbox_has_what_was_committed(recipes: Recipes) -> None:
    """An event that was rolled back with its login is not kept; the other is reported once and then gone."""
    recipes.run("keep")
    assert (recipes.logins, recipes.reported, recipes.kept) == (["first"], [], 1)
    assert [recipes.run("forward"), recipes.run("forward")] == ["1", "0"]
    assert (recipes.reported, recipes.kept) == (["first"], 0)


def test_a_kill_after_the_commit_loses_nothing_of_the_outbox(recipes: Recipes) -> None:
    """The next process finds the event, one that dies in the middle leaves it, and an outage of Redis does, too."""
    recipes.run_to_its_death("keep_and_die")
    assert (recipes.logins, recipes.reported, recipes.kept) == (["first"], [], 1)
    assert recipes.run("forward_in_vain") == "0"
    recipes.run_to_its_death("forward_and_die")
    assert (recipes.reported, recipes.kept) == (["first"], 1)
    assert recipes.run("forward") == "1"
    assert (recipes.reported, recipes.kept) == (["first", "first"], 0)  # the worker sends it once


@pytest.fixture(scope="module")
def postgres() -> Generator[Postgres]:
    """Yield a PostgreSQL server."""
    with Postgres() as server:
        yield server


@pytest.mark.compat
@pytest.mark.timeout(400)
@pytest.mark.parametrize("stack", STACKS)
def test_processes_share_the_outbox_in_postgresql(
    stack: str, postgres: Postgres, url: str, valkey: redis.Redis
) -> None:
    """Its rows are skipped while another one reports them: nobody waits, and each event is reported once."""
    needed = ["psycopg[binary]==3.*", "django==5.2.*", "sqlalchemy==2.*", "redis", "hiredis"]
    pip = ["bin/python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", *needed]
    folder = made("postgres", "\n".join(needed), [sys.executable, "-m", "venv", "."], pip)
    recipes = Recipes(stack, postgres.url, url, valkey, str(folder / "bin" / "python"))
    recipes.run_to_its_death("keep_and_die")
    recipes.run_to_its_death("forward_and_die")
    assert (recipes.run("forward"), recipes.reported) == ("1", ["first", "first"])
    admin(valkey).delete(QUEUE)
    recipes.run("keep_many")
    assert recipes.run("forward_beside").split() == [str(MANY - BATCH), str(BATCH)]
    assert sorted(recipes.reported, key=int) == [str(number) for number in range(MANY)]
    assert recipes.run("forward") == "0"
