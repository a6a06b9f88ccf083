"""The Celery application for `celery -A otpreport.worker worker`, and for nothing else.

To import it makes the worker's packages importable, which in a web app would change what `import config` means. So in
a process that is not Celery's command line for this module, or that has a package of one of their names already, it
raises ImportError and leaves all as it was.
"""

# ruff: noqa: E402 - nothing is imported before it is clear that it may be
# pyright: reportUnusedImport=false

import os
import sys

_command = getattr(sys, "argv", None) or [""]  # where Python is embedded there may be none
_celery = "celery" in os.path.normpath(_command[0]).split("/")[-2:]  # `celery` itself, or `python -m celery`
_named = [*_command[1:], os.environ.get("APP", ""), os.environ.get("CELERY_APP", "")]
if not _celery or not any("otpreport.worker" in word for word in _named):
    raise ImportError(
        "otpreport.worker is for `celery -A otpreport.worker worker` alone; see also `otpreport run`"
    )

from otpreport import app_folder

try:
    app_folder.put_first()
except ImportError:
    del sys.modules[app_folder.__name__]
    raise

from otpreport import extras

if fault := extras.missing("worker"):
    print(fault, file=sys.stderr)
    sys.exit(2)

# in the same step, while the folder is first: for each of its own imports Celery puts the current folder before it
from worker.celery import app

__all__ = ["app"]
