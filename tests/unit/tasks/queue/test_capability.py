"""What a worker asks a Redis before it begins."""

import re
from pathlib import Path

TASKS = Path(__file__).parents[4] / "tasks"
OPERATORS = {
    "audit",
    "capability",
    "operate",
    "override",
    "page",
    "pulse",
    "purge",
    "queues",
    "replay",
    "snapshot",
    "unserved",
}
"""The scripts of the command line, and the probe itself; all others are run by workers."""

WORKERS = {file.stem: file.read_text() for file in sorted(TASKS.rglob("*.lua")) if file.stem not in OPERATORS}

CALL = r"(?:redis\.p?call|\bmany)\("
"""What calls a command, `many` (sound.lua) with any number of values."""

DISPENSABLE = {"INFO", "MEMORY"}
"""Without INFO accounts with MAX_IN_FLIGHT wait, and that is told; without MEMORY notices are taken one by one."""

OUTSIDE_OF_SCRIPTS = {"EVAL", "EVALSHA", "PING"}


def test_every_command_is_probed() -> None:
    """The probe asks for each command that a worker's scripts call, and for no other."""
    called = {command for text in WORKERS.values() for command in re.findall(CALL + r"'([A-Z]+)'", text)}
    probed = set(re.findall(r"'([A-Z]{3,})'", (TASKS / "queue/capability.lua").read_text()))
    assert probed == called - DISPENSABLE | OUTSIDE_OF_SCRIPTS


def test_no_script_calls_what_is_not_seen() -> None:
    """A worker's scripts name each command where they call it, so that none escapes the test above."""
    for name, text in WORKERS.items():
        seen = re.sub(r"function many\(.*?\nend", "", text, flags=re.DOTALL)
        assert len(re.findall(CALL, seen)) == len(re.findall(CALL + "'[A-Z]+'", seen)), name
