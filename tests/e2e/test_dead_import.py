"""A producer without the client writes an event wrong; an operator corrects it in an export."""

from pathlib import Path

import orjson

from tests.support.command import call_in, environment
from tests.support.fleet import Account, Fleet
from tests.support.leased import message
from tests.support.wait import until


def test_a_corrected_letter_reaches_the_provider(tmp_path: Path) -> None:
    """Once, among good ones, and a second import of the same file sends nothing."""
    with Fleet(tmp_path, Account("tencent", "tencent", 200)) as fleet:
        fleet.start_worker()
        (event,) = fleet.events(1, prefix="wrong-")
        wrong = event.to_wire() | {"verified": "yes"}
        fleet.push_raw(message({"event": wrong}))
        fleet.enqueue(20)
        fleet.wait_until_settled()
        assert fleet.check().books["tencent"].dead == 1

        whole = environment(f"redis://127.0.0.1:{fleet.valkey.port}/0")
        line = orjson.loads(call_in(whole, "dead", "export", "--reason", "invalid").out)
        assert line["body"][1]["event"] == wrong
        file = tmp_path / "fixed.jsonl"
        file.write_bytes(orjson.dumps(line | {"event": event.to_wire()}))
        imported = call_in(whole, "dead", "import", str(file), "--yes", "--json").json
        assert imported["imported"] == 1

        fleet.sent.append(event)
        until(lambda: fleet.delivered() == 21)
        assert call_in(whole, "dead", "import", str(file), "--yes").status == 1
        fleet.wait_until_settled()
        audit = fleet.check()
        assert (audit.books["tencent"].dead, audit.twice.total()) == (0, 0)
