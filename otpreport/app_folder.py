"""Where the worker's packages are, and how a program comes to import them.

`config`, `tasks`, `worker` and `providers` are names that web apps use for their own packages. So the wheel has ours
in `otpreport/_app`, where nobody's import looks, and only a program of ours puts that folder on the path.
"""

import os.path
import sys

PACKAGES = ("config", "providers", "simulator", "tasks", "worker")

_here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - a web app need not import pathlib
_installed = os.path.join(_here, "_app")  # noqa: PTH118
FOLDER = _installed if os.path.isdir(_installed) else os.path.dirname(_here)  # noqa: PTH112, PTH120
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
    sys.path.insert(0, FOLDER)


def _is_ours(name: str, module: object) -> bool:
    return list(getattr(module, "__path__", ())) == [os.path.join(FOLDER, name)]  # noqa: PTH118
