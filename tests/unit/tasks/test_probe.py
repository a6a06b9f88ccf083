"""What a worker asks a Redis before it begins."""

import re
from pathlib import Path

TASKS = Path(__file__).parents[3] / "tasks"
OPERATORS = {
    "audit",
    "letters",
    "operate",
    "override",
    "probe",
    "pulse",
    "purge",
    "queues",
    "replay",
    "snapshot",
}
"""The scripts of the command line, and the probe itself; all others are run by workers."""

WORKERS = sorted(file.stem for file in TASKS.glob("*.lua") if file.stem not in OPERATORS)

OUTSIDE_OF_SCRIPTS = {"EVAL", "EVALSHA", "PING"}


def test_every_command_is_probed() -> None:
    """The probe asks for each command that a worker's scripts call, and for no other."""
    called = {
        command
        for name in WORKERS
        for command in re.findall(r"redis\.p?call\('([A-Z]+)'", (TASKS / f"{name}.lua").read_text())
    }
    probed = set(re.findall(r"'([A-Z]{3,})'", (TASKS / "probe.lua").read_text()))
    assert probed == called | OUTSIDE_OF_SCRIPTS


def test_no_script_calls_what_is_not_seen() -> None:
    """A worker's scripts name each command where they call it, so that none escapes the test above."""
    for name in WORKERS:
        text = (TASKS / f"{name}.lua").read_text()
        assert len(re.findall(r"redis\.p?call\(", text)) == len(
            re.findall(r"redis\.p?call\('[A-Z]+'", text)
        ), name
