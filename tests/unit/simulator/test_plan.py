"""Reading settings and plans: right ones, and one clear line for each fault of wrong ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator import InvalidSettingsError, parse
from simulator.limits import LIMITS
from simulator.plan import Plan, parse_plan, plan_data
from simulator.settings import EXAMPLE, load

KEY = {"provider": "alibaba", "id": "AK", "secret": "SECRET"}
TENCENT = {"provider": "tencent", "id": "AKID", "secret": "SECRET", "apps": ["1400000001"]}


def _fault(**fields: object) -> dict[str, object]:
    return {"keys": [KEY], "plan": {"faults": [fields]}}


def test_the_example_is_read() -> None:
    """The file that ships as an example is right, and knows every provider once."""
    settings = load(EXAMPLE)
    assert sorted(key.provider for key in settings.keys) == sorted(LIMITS)
    assert settings.plan.faults


def test_a_rate_that_is_left_out_is_the_documented_one() -> None:
    """Tencent documents 1000 requests/s, Alibaba 500."""
    keys = parse({"keys": [KEY, TENCENT, TENCENT | {"id": "other", "rate": 20}]}).keys
    assert [key.limit for key in keys] == [500, 1000, 20]


def test_a_plan_survives_being_written_and_read() -> None:
    """What GET /-/plan shows can be put back."""
    plan = load(EXAMPLE).plan
    assert parse_plan(plan_data(plan)) == plan
    assert parse_plan({}) == Plan()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({}, "keys is missing"),
        ({"keys": []}, "keys is empty"),
        ({"keys": [KEY], "kyes": 1}, "kyes is no setting of the simulator"),
        ({"keys": [{"provider": "alibaba", "id": "AK"}]}, "keys[0].secret is missing"),
        (
            {"keys": [KEY | {"provider": "tencnt"}]},
            "keys[0].provider is wrong: no such provider: known are tencent, ",
        ),
        ({"keys": [KEY | {"rate": 0}]}, "keys[0].rate is wrong: input should be greater than or equal to 1"),
        ({"keys": [KEY | {"rate": "5"}]}, "keys[0].rate is wrong: input should be a valid integer"),
        ({"keys": [TENCENT | {"apps": []}]}, "keys[0] is wrong: a tencent key needs at least one id in apps"),
        ({"keys": [KEY, KEY]}, "the alibaba key 'AK' is there twice"),
        ({"keys": [KEY], "plan": {"rates": {"X": 1}}}, "plan.rates names a key that"),
        ({"keys": [KEY], "plan": {"latency": {"base_ms": -1}}}, "plan.latency.base_ms is wrong: "),
        ({"keys": [KEY], "plan": {"latency": {"base": 1}}}, "plan.latency.base is no setting"),
        (_fault(kind="explode"), "plan.faults[0].kind is wrong: input should be "),
        (
            _fault(kind="hang", share=1.5),
            "plan.faults[0].share is wrong: input should be less than or equal to 1",
        ),
        (_fault(kind="code"), "plan.faults[0] is wrong: a fault of kind 'code' needs a code"),
        (_fault(kind="inner", code="OK"), "plan.faults[0] is wrong: the code ok is no fault"),
        (_fault(kind="drip"), "plan.faults[0] is wrong: a fault of kind 'drip' needs delay_ms"),
        (_fault(kind="code", code="X", taken=True), "plan.faults[0] is wrong: a report answered with kind "),
        (_fault(kind="hang", from_s=2, to_s=1), "plan.faults[0] is wrong: to_s must be after from_s"),
    ],
)
def test_each_fault_is_one_clear_line(data: object, line: str) -> None:
    """A wrong setting is named by its path, with what is wrong, in one line and without any secret."""
    with pytest.raises(InvalidSettingsError) as caught:
        parse(data)
    (only,) = caught.value.faults
    assert only.startswith(line)
    assert "\n" not in only
    assert "SECRET" not in only


def test_all_faults_are_named() -> None:
    """Two faults are two lines."""
    with pytest.raises(InvalidSettingsError) as caught:
        parse({"keys": [KEY | {"rate": 0}], "plan": {"seed": "x"}})
    assert len(caught.value.faults) == 2


def _missing(path: Path) -> None:
    del path


def _broken(path: Path) -> None:
    path.write_text("keys = [")


def _incomplete(path: Path) -> None:
    path.write_text("[plan]\nseed = 1\n")


def _empty(path: Path) -> None:
    path.write_text("\n")


def _binary(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (_missing, "cannot be read: No such file"),
        (_broken, "is neither TOML nor JSON"),
        (_binary, "is neither TOML nor JSON"),
        (_incomplete, ": keys is missing"),
        (_empty, "is empty: leave it out to use the built-in test keys"),
    ],
)
def test_a_bad_file_is_named(prepare: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    """A file that is _missing, broken or incomplete gives one line with its name."""
    path = tmp_path / "simulator.toml"
    prepare(path)
    with pytest.raises(InvalidSettingsError) as caught:
        load(path)
    (only,) = caught.value.faults
    assert only.startswith(str(path))
    assert words in only


def test_secrets_are_not_in_the_representation() -> None:
    """Printing the settings shows no secret."""
    shown: Any = repr(parse({"keys": [KEY | {"token": "TOKEN"}]}))
    assert "AK" in shown
    assert "SECRET" not in shown
    assert "TOKEN" not in shown
