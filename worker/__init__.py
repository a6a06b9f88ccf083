"""How it runs: the Celery application and its pool, the engine, HTTP, metrics, the command line.

What is set here makes a start shorter.
"""

import gc as _gc
import sys as _sys

# a start makes a hundred thousand objects that all stay: looking for garbage among them took a tenth of it
_gc.set_threshold(20_000)
# httpx imports a command line of its own when rich is there; it goes without when that can't be imported
_sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
