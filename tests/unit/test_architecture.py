import ast
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# package: those of ours that it may import. Nothing imports worker; the simulator judges us by its own code;
# what deploy/ names of ours (metrics, states) its tests hold against the code.
MAY_IMPORT = {
    "otpreport": set[str](),
    "config": {"otpreport", "providers"},
    "providers": {"otpreport"},
    "tasks": {"otpreport", "providers"},
    "worker": {"otpreport", "config", "providers", "tasks", "simulator"},
    "simulator": set[str](),
    "deploy": {"otpreport"},
}
PACKAGES = sorted(MAY_IMPORT)

# The one exception: where a program of ours begins that the wheel carries. These put the worker's packages on the path.
DOORS = {"otpreport/__main__.py": "worker.__main__", "otpreport/worker.py": "worker.celery"}

# package: the only libraries that it may import. The wheel needs no others, a provider has no HTTP library.
LIBRARIES = {
    "otpreport": {"redis", "hiredis"},
    "providers": {"pydantic", "pydantic_core"},
}
# package: libraries that it must not know.
FOREIGN = {"tasks": {"celery", "kombu", "httpx", "aiohttp"}, "config": {"celery", "kombu", "httpx", "redis"}}
# library: the only files of the programs that know it. What sends a report knows no HTTP library but the parser.
# A name that ends with / is a folder.
ONLY_IN = {
    "celery": {"worker/celery.py", "worker/bridge/"},
    "kombu": {"worker/celery.py", "worker/bridge/"},
    "rich": {"worker/cli/", "worker/demo/"},
    "typer": {"worker/cli/"},
    "httptools": {"worker/http/http1.py", "simulator/connection.py"},
    "httpx": {"worker/http/httpx_client.py", "worker/demo/evidence.py", "worker/demo/processes.py"},
    "aiohttp": {"worker/health.py", "worker/fleet/page.py"},
}
# folder of ours: modules of ours that it must not know.
NEVER = {
    "worker/fleet": {"worker.cli", "worker.engine", "worker.runtime"},
    "worker/http": {"worker.cli", "worker.engine", "worker.runtime", "worker.bridge"},
    "worker/bridge": {"worker.cli", "worker.fleet"},
    "tasks/limiter": {"tasks.queue", "tasks.dead_letters", "tasks.report"},
    "tasks/dead_letters": {"tasks.limiter", "tasks.accounts", "tasks.report"},
}
# files that only decide: they know no Redis, not even its errors.
DECIDING = [
    *("delivery.py", "dedupe.py", "history.py", "keys.py", "retry.py", "settlement.py", "wall.py"),
    *("dead_letters/filter.py", "dead_letters/letter.py", "dead_letters/write.py", "fleet/workforce.py"),
    *("limiter/clock.py", "limiter/rate.py", "queue/breaker.py", "accounts/reach.py"),
    "tracking/otps.py",
]
# package: the only names that it may take from another of ours.
NAMES = {("providers", "otpreport"): {"Verification"}}


def imports(source: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield each module that a source imports, anywhere in it, with the names taken from it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, frozenset[str]()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where a name comes from"
            yield node.module or "", frozenset(alias.name for alias in node.names)


def faults(package: str, source: str) -> list[str]:
    """Return what a source of `package` imports against the rules."""
    return [fault for module, names in imports(source) if (fault := _fault(package, module, names))]


def _fault(package: str, module: str, names: frozenset[str]) -> str:
    top = module.partition(".")[0]
    if top == package:
        return ""
    if top in {*PACKAGES, "tests", "benchmarks", "examples"}:
        allowed = NAMES.get((package, top))
        strangers = allowed is not None and (module != top or not names or not names <= allowed)
        return f"{package} imports {module}" if top not in MAY_IMPORT[package] or strangers else ""
    only, never = LIBRARIES.get(package), FOREIGN.get(package, set())
    foreign = top in never or (only is not None and top not in only | sys.stdlib_module_names)
    return f"{package} imports {module}" if foreign else ""


def tree(package: str) -> list[str]:
    """Return the faults of every file of a package."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files, f"{package} is gone"
    found = {str(file.relative_to(ROOT)): faults(package, file.read_text()) for file in files}
    for door, module in DOORS.items():
        if door in found:
            found[door].remove(f"{package} imports {module}")  # it is there, and it is the only one
    return [f"{file}: {fault}" for file, each in found.items() for fault in each]


@pytest.mark.parametrize("package", PACKAGES)
def test_who_may_import_whom(package: str) -> None:
    """No file imports what its package must not know."""
    assert tree(package) == []


def rooms(sources: Mapping[Path, str]) -> dict[str, set[str]]:
    """Return which folders and files at the top of `tasks/` each of these imports."""
    found: dict[str, set[str]] = {}
    for file, source in sources.items():
        own = file.with_suffix("").parts[0]
        modules = [f"{module}.{name}" for module, names in imports(source) for name in (names or {""})]
        others = {module.split(".")[1] for module in modules if module.startswith("tasks.")}
        found.setdefault(own, set()).update(others - {own})
    return found


def test_the_imports_of_tasks_go_one_way() -> None:
    """No folder of it, and no file at its top, imports what imports it, be it by way of others."""
    files = (ROOT / "tasks").rglob("*.py")
    order = [
        *TopologicalSorter(
            rooms({f.relative_to(ROOT / "tasks"): f.read_text() for f in files})
        ).static_order()
    ]
    assert order.index("shared") < order.index("tracking") < order.index("find")
    circle = {
        Path("find/finder.py"): "from tasks.dead_letters import letter",
        Path("dead_letters/fate.py"): "from tasks import memory",
        Path("memory.py"): "from tasks.find.otps import ClosedOtp",
    }
    with pytest.raises(CycleError):
        TopologicalSorter(rooms(circle)).prepare()


@pytest.mark.parametrize("file", sorted((ROOT / "otpreport").glob("*.py")), ids=lambda file: file.name)
def test_only_a_program_enters_by_a_door(file: Path) -> None:
    """Nothing that a web app imports leads to the worker's packages, or to what puts them on the path."""
    doors = {"otpreport.__main__", "otpreport.worker", "otpreport.app_folder", "otpreport.extras"}
    is_door = f"otpreport.{file.stem}" in doors or str(file.relative_to(ROOT)) in DOORS
    assert is_door or not [m for m in known(file.read_text()) if m in doors]


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("otpreport", "import config"),
        ("otpreport", "def later():\n    import celery"),
        ("providers", "from otpreport import Reporter, Verification"),
        ("providers", "from otpreport.event import Verification"),
        ("providers", "import otpreport"),
        ("providers", "import httpx"),
        ("config", "from tasks.keys import Keys"),
        ("tasks", "import worker.runtime"),
        ("tasks", "from celery import Celery"),
        ("simulator", "from providers.tc3 import TC3"),
        ("deploy", "from worker.metrics import Metrics"),
        ("worker", "from tests.support import wait"),
    ],
)
def test_a_bad_import_is_seen(package: str, source: str) -> None:
    """The rules catch what they are for: each of these made-up files is refused."""
    assert len(faults(package, source)) == 1


def test_the_allowed_imports_are_let_through() -> None:
    """The rules refuse nothing that the design allows."""
    assert not faults(
        "providers", "import hashlib\nfrom otpreport import Verification\nfrom providers.base import Answer"
    )
    assert not faults("worker", "import celery\nfrom config import Settings\nimport simulator.app")


@pytest.mark.parametrize("library", ONLY_IN)
def test_who_knows_a_library(library: str) -> None:
    """No other file imports it, and none of these would do without."""
    knowing = {
        place_of(library, str(file.relative_to(ROOT)))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        if any(module.partition(".")[0] == library for module, _ in imports(file.read_text()))
    }
    assert knowing == ONLY_IN[library]


def place_of(library: str, file: str) -> str:
    """Return the folder that may know the library and holds this file, else the file."""
    folders = (place for place in ONLY_IN[library] if place.endswith("/") and file.startswith(place))
    return next(folders, file)


def known(source: str) -> Iterator[str]:
    """Yield each module that a source may import, with `from a import b` as a and a.b."""
    for module, names in imports(source):
        yield module
        yield from (f"{module}.{name}" for name in names)


def below(module: str, roots: set[str]) -> bool:
    """Return whether a module is one of these, or in one of them."""
    return any(module == root or module.startswith(f"{root}.") for root in roots)


@pytest.mark.parametrize("folder", NEVER)
def test_no_room_knows_what_stands_above_it(folder: str) -> None:
    """What looks at the fleet needs no terminal, what sends a report no engine."""
    found = {
        f"{file.relative_to(ROOT)}: {module}"
        for file in (ROOT / folder).rglob("*.py")
        for module in known(file.read_text())
        if below(module, NEVER[folder])
    }
    assert found == set()


@pytest.mark.parametrize("file", DECIDING)
def test_what_decides_knows_no_redis(file: str) -> None:
    """Each decision can be read and tested without a server."""
    assert not [m for m in known((ROOT / "tasks" / file).read_text()) if below(m, {"redis", "tasks.script"})]


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_happens_at_import(package: str) -> None:
    """A package's `__init__` says what it is and what it exports, or how that is imported, and does nothing."""
    todo = ast.parse((ROOT / package / "__init__.py").read_text()).body
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If):
            todo += node.body
            continue
        declares = ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.FunctionDef
        assert isinstance(node, declares), ast.unparse(node)
        assert not isinstance(node, ast.Expr) or isinstance(node.value, ast.Constant), ast.unparse(node)


def test_an_import_from_a_package_is_seen() -> None:
    """Both ways to import a module count, a longer name that begins alike does not."""
    assert list(known("from worker import cli")) == ["worker", "worker.cli"]
    assert below("worker.cli.screen", {"worker.cli"})
    assert not below("worker.client", {"worker.cli"})


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_true(package: str) -> None:
    """Where a package says what it exports, that is sorted and exactly what its `__init__` makes public."""
    source = (ROOT / package / "__init__.py").read_text()
    if "__all__" not in source:
        assert not set(public_names(source)), f"{package}/__init__.py makes names public without __all__"
        return
    exported: list[str] = importlib.import_module(package).__all__
    assert exported == sorted(exported, key=sort_key)
    assert set(exported) == set(public_names(source))


def public_names(source: str) -> Iterator[str]:
    """Yield the public names that a module binds by import, definition or assignment, also for type checkers alone."""
    todo = list(ast.parse(source).body)
    for node in todo:
        if isinstance(node, ast.If):
            todo += node.body
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.asname or alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_") and name != "TYPE_CHECKING")


def sort_key(name: str) -> tuple[int, str]:
    """Order names as the linter does: constants, classes, the rest."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_public_names_are_seen() -> None:
    """The test of `__all__` would notice a name that is not in it."""
    source = (
        "import a.b\nfrom c import d as e, _f\nclass G: ...\ndef h(): ...\nI = 1\n_j = 2\nif I:\n import k\n"
    )
    assert list(public_names(source)) == ["a", "e", "G", "h", "I", "k"]


def test_every_error_is_in_the_tree() -> None:
    """An error of ours has the one base and is in the drawing, at its file; the simulator has its own."""
    drawn = dict(re.findall(r"── (\w+) +(\S+\.py) ", (ROOT / "otpreport" / "errors.py").read_text()))
    found = {
        node.name: str(file.relative_to(ROOT))
        for package in ("otpreport", "config", "providers", "tasks", "worker")
        for file in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and node.name != "OtpreportError" and is_error(node)
    }
    assert found == drawn


def is_error(node: ast.ClassDef) -> bool:
    """Return whether a class is an exception, by its bases."""
    return any(re.search(r"(Error|Exception)$", ast.unparse(base)) for base in node.bases)


def test_an_error_beside_the_tree_is_seen() -> None:
    """The test of the tree knows an exception by any base that is one."""
    for source in ("class A(OSError): ...", "class A(x.RedisError, B): ...", "class A(OtpreportError): ..."):
        (node,) = ast.parse(source).body
        assert isinstance(node, ast.ClassDef)
        assert is_error(node)
