import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "skipped": "import pytest\n\ndef test_needs_something():\n    pytest.skip('nothing there')\n",
    "passed": "def test_passes():\n    pass\n",
}


def run(folder: Path, test: str, ci: str) -> subprocess.CompletedProcess[str]:
    """Run one made-up test file with the hook, with CI set or not."""
    (folder / "test_made_up.py").write_text(TESTS[test])
    root = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.skips", "-p", "no:cacheprovider", str(folder)],
        env=os.environ | {"CI": ci, "PYTHONPATH": str(root)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("test", "ci", "status"), [("skipped", "true", 1), ("skipped", "", 0), ("passed", "true", 0)]
)
def test_a_skip_fails_ci_alone(tmp_path: Path, test: str, ci: str, status: int) -> None:
    """A skipped test fails a run in CI; elsewhere it does not, and neither does a run without skips."""
    ended = run(tmp_path, test, ci)
    assert ended.returncode == status, ended.stdout
    assert ("which CI takes for failures" in ended.stdout) is (status == 1)
