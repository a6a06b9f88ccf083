"""Whatever says something of each state of an account says it of those in tasks/accounts/states.py.

The dashboard is held to them by tests/unit/deploy/test_dashboard.py, the alerts by tests/integration/test_alerts.py.
"""

import re
from pathlib import Path

from tasks.accounts.states import NAMES
from worker.cli.account_table import COLOURS, MARKS
from worker.fleet.checks import STATES
from worker.fleet.wording import STATE_PHRASES

ROOT = Path(__file__).parents[3]
WEB = ROOT / "worker" / "fleet" / "web"


def test_each_state_has_its_phrase_and_its_advice() -> None:
    """`status` has a phrase for each, `check` a severity for each but the good one; a colour is of one of them."""
    assert STATE_PHRASES.keys() == set(NAMES)
    assert STATES.keys() == set(NAMES) - {"running"}
    assert COLOURS.keys() <= set(NAMES)


def test_the_page_has_the_marks_of_the_terminal() -> None:
    """In the browser an account looks as it does in `status`, and each colour is of a state that there is."""
    (line,) = re.findall(r"^const MARKS = \{(.*)\};$", (WEB / "status.js").read_text(), re.MULTILINE)
    assert dict(re.findall(r'(\w+): "(.)"', line)) == MARKS
    coloured = set(re.findall(r"\.state\.(\w+)", (WEB / "status.css").read_text()))
    assert coloured
    assert coloured <= set(NAMES)


def test_the_architecture_page_tells_of_each() -> None:
    """Its table says what is done with the events in each state; `unknown` is told below it."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("| state | Redis' word |")[2].partition("\n\n")[0]
    assert {*re.findall(r"^\| (\w+)", table, re.MULTILINE), "unknown"} == set(NAMES)
