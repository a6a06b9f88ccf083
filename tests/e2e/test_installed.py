"""The worker from the wheel, in an environment and a folder that know nothing of a checkout."""

import signal
import sys
from pathlib import Path

import pytest

from otpreport.app_folder import PACKAGES
from otpreport.version import VERSION
from tests.support.command import ACCOUNTS
from tests.support.fleet import LONG, Fleet
from tests.support.installed import add_namesakes, build, installed, run, tried
from tests.support.wait import until
from worker.demo.main import DEADLINE

CELERY = (str(Path(sys.executable).with_name("celery")), "-A", "otpreport.worker")
"""The script of this environment: the other's python runs it as it would its own."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel."""
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the client alone, as a web app does; return the python."""
    return installed(wheel, tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the extra [demo]; return the python."""
    return installed(wheel, tmp_path_factory.mktemp("demo"), "demo")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with packages named as ours, which say when they are imported."""
    add_namesakes(tmp_path)
    for name in PACKAGES:
        with (tmp_path / name / "__init__.py").open("a") as file:
            file.write(f'raise AssertionError("the {name} of this folder was imported")\n')
    return tmp_path


def test_the_command(python: Path, folder: Path) -> None:
    """It is there as a script and as a module, and does not mind the packages of the folder that it is called in."""
    script = python.with_name("otpreport")
    for command in ([script], [python, "-m", "otpreport"]):
        assert run(*command, "--version", cwd=folder) == f"otpreport {VERSION}\n"
        assert run(*command, "status", "--help", cwd=folder).startswith("Usage: otpreport status ")
    ended = tried(script, "check", cwd=folder)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 2)
    assert "OTPREPORT_REDIS_URL" in ended.stderr


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("worker", ("run",)),
        ("worker", ("status",)),
        ("worker", ("--help",)),
        ("worker", ()),
        ("demo", ("demo",)),
    ],
)
def test_an_extra_is_missing(
    wheel: Path, bare: Path, folder: Path, extra: str, command: tuple[str, ...]
) -> None:
    """Beside the client alone each command says in one line how to add the extra it needs; --version works."""
    script = bare.with_name("otpreport")
    ended = tried(script, *command, cwd=folder)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1)
    assert ended.stderr.endswith(f"of the extra [{extra}]: pip install '{wheel}[{extra}]'\n")
    assert run(script, "--version", cwd=folder) == f"otpreport {VERSION}\n"


def test_an_extra_is_missing_for_celery(python: Path, folder: Path) -> None:
    """Celery's own command line gets the same line."""
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['uvloop'] = None")
    ended = tried(python, *CELERY, "worker", cwd=folder, environment={"PYTHONPATH": str(folder)})
    (line,) = ended.stderr.splitlines()
    assert (ended.returncode, "it is part of the extra [worker]: pip install '" in line) == (2, True)


def test_workers(python: Path, folder: Path, tmp_path: Path) -> None:
    """Each way to start one reports, in a folder with packages named as ours; SIGHUP starts it anew."""
    ways = (
        (str(python.with_name("otpreport")), "run"),
        ("-m", "otpreport", "run"),
        (*CELERY, "worker"),
        ("-m", "celery", "--app=otpreport.worker", "worker"),
    )
    (tmp_path / "fleet").mkdir()
    with Fleet(tmp_path / "fleet", settings=LONG) as fleet:
        workers = [fleet.launch(way, python=python, root=folder) for way in ways]
        for worker in workers:
            worker.wait_until_started().send(signal.SIGHUP)
        until(lambda: all(worker.text.count('"worker started"') == 2 for worker in workers), deadline=40)
        fleet.enqueue(200)
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].delivered == 200
        for worker in workers:
            worker.terminate()
        assert [worker.wait() for worker in workers] == [0] * len(ways)


def test_multi(python: Path, folder: Path, tmp_path: Path) -> None:
    """`celery multi` starts and ends it: Celery starts a process of its own, with the same arguments."""
    (tmp_path / "fleet").mkdir()
    with Fleet(tmp_path / "fleet", settings=LONG) as fleet:
        where = (f"--pidfile={tmp_path}/%n.pid", f"--logfile={tmp_path}/%n.log")
        multi = (python, CELERY[0], "multi")
        config = {"OTPREPORT_CONFIG": str(fleet.config)}
        started = tried(*multi, "start", "one", *CELERY[1:], *where, cwd=folder, environment=config)
        assert started.returncode == 0, started.stdout + started.stderr
        fleet.enqueue(20)
        fleet.wait_until_settled()
        run(*multi, "stopwait", "one", *where, cwd=folder)


@pytest.mark.timeout(2 * DEADLINE)
def test_demo(python: Path, folder: Path) -> None:
    """It finds its processes and accounts for every event."""
    ended = tried(python.with_name("otpreport"), "demo", cwd=folder, deadline=2 * DEADLINE)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Every event is accounted for" in ended.stdout
    assert "otpreport demo --keep" in ended.stdout
    assert ".venv" not in ended.stdout
    assert not ended.stderr


REFUSED = """
import sys
{before}
path, modules = list(sys.path), set(sys.modules)
sys.argv = {argv}
try:
    import otpreport.worker
except ImportError as error:
    print(error)
print(sys.path == path, *sorted(name for name in set(sys.modules) - modules if "otpreport." in name))
print({namesakes})
"""
WORKER = ["/usr/bin/celery", "-A", "otpreport.worker", "worker"]
NAMESAKES = "__import__('config').MINE, __import__('tasks').MINE"


@pytest.mark.parametrize(
    ("argv", "before", "why"),
    [
        (["-c"], "import otpreport", "otpreport.worker is for `celery -A otpreport.worker worker` alone"),
        ([], "import otpreport", "otpreport.worker is for"),
        (["/usr/bin/celery", "-A", "shop", "worker"], "import otpreport", "otpreport.worker is for"),
        (["/usr/bin/gunicorn", "otpreport.worker"], "import otpreport", "otpreport.worker is for"),
        (WORKER, "import otpreport, tasks", "tasks is imported from "),
    ],
)
def test_a_web_app_is_left_alone(
    python: Path, tmp_path: Path, argv: list[str], before: str, why: str
) -> None:
    """In a process that is no worker's, or has a package of one of the names, an import fails and changes nothing."""
    add_namesakes(tmp_path)
    probe = REFUSED.format(before=before, argv=argv, namesakes=NAMESAKES)
    error, unchanged, found = run(python, "-c", probe, cwd=tmp_path).splitlines()
    assert error.startswith(why)
    assert unchanged == "True"
    assert found == "my config my tasks"


def test_a_worker_is_not(python: Path, tmp_path: Path) -> None:
    """The negative control: a worker's command line gets our packages, whatever this folder has."""
    add_namesakes(tmp_path)
    settings = {**ACCOUNTS, "OTPREPORT_REDIS_URL": "redis://127.0.0.1:1/0"}
    probe = REFUSED.format(before="", argv=WORKER, namesakes="hasattr(__import__('config'), 'MINE')")
    ended = tried(python, "-c", probe, cwd=tmp_path, environment=settings)
    assert ended.stdout.splitlines()[-1:] == ["False"], ended.stdout + ended.stderr
