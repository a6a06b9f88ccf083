"""What the package shows to the world."""

import inspect
import subprocess
import sys

import otpreport


def test_all() -> None:
    """`__all__` is sorted and is what a user finds in the package, besides its modules."""
    found = {
        name
        for name, value in vars(otpreport).items()
        if not (name.startswith("_") or inspect.ismodule(value))
    }
    assert otpreport.__all__ == sorted(found)


PROBE = """
import sys
before = set(sys.modules)
import otpreport
import otpreport.testing
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*(name for name in new - set(sys.stdlib_module_names) if not name.startswith("_sysconfigdata")))
"""

DEPENDENCIES = {"otpreport", "redis", "hiredis", "pydantic", "pydantic_core"}
THEIRS = {"annotated_types", "typing_extensions", "typing_inspection"}
WHERE_INSTALLED = {
    "cryptography",
    "opentelemetry",
}  # redis looks for them; tests/integration/test_wheel.py has none


def test_imports() -> None:
    """Importing the package imports redis, pydantic and what they need, nothing of ours besides."""
    shown = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert set(shown.stdout.split()) <= DEPENDENCIES | THEIRS | WHERE_INSTALLED
