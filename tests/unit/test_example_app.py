"""The app id of the pages is the one that the simulated providers know."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("README.md", "docs", "deploy", "simulator", "worker", "providers", "config")


def test_one_example_app_id() -> None:
    """Whoever copies from two pages gets one app id, and the simulator does not refuse it."""
    listed = subprocess.run(["git", "ls-files", "-z", *PLACES], cwd=ROOT, capture_output=True, check=True)
    texts = [(ROOT / name).read_bytes() for name in listed.stdout.decode().split("\0") if name]
    found = {match for text in texts for match in re.findall(rb"\b14000\d{5}\b", text)}
    assert found == {b"1400006666"}
