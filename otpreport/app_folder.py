"""Where the worker's packages are, and how a program comes to import them.

`config`, `tasks`, `worker` and `providers` are names that web apps use for their own packages. So the wheel has ours
in `otpreport/_app`, which is not on Python's path, and only a program of ours puts it there.
"""

import sys
from pathlib import Path

PACKAGES = ("config", "providers", "simulator", "tasks", "worker")

_installed = Path(__file__).with_name("_app")
INSTALLED = _installed.is_dir()
FOLDER = _installed if INSTALLED else Path(__file__).parents[1]
"""The folder in the wheel; in a checkout its top."""


def put_first() -> None:
    """Put the folder first on `sys.path`; ImportError if one of its names is taken, and nothing is changed then."""
    for name in PACKAGES:
        taken = sys.modules.get(name)
        if taken is not None and not _is_ours(name, taken):
            where = getattr(taken, "__file__", None) or "elsewhere"
            raise ImportError(
                f"{name} is imported from {where} already: start otpreport in a process of its own"
            )
    sys.path.insert(0, str(FOLDER))


def _is_ours(name: str, module: object) -> bool:
    return list(getattr(module, "__path__", ())) == [str(FOLDER / name)]
