import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.duration import parse_duration, written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("500ms", 0.5), ("30s", 30.0), ("5m", 300.0), (" 24 h ", 86_400.0), ("7d", 604_800.0)],
)
def test_units(text: str, seconds: float) -> None:
    """Every unit counts what it says, and none means seconds."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("value", ["", "5 minutes", "1h30m", "1e3", "٣", "s", None, 7, True])
def test_what_is_no_duration_passes_through(value: object) -> None:
    """What is not understood is left for pydantic to judge."""
    assert parse_duration(value) is value


@given(st.text())
def test_never_raises(text: str) -> None:
    """Any text is a number of seconds or itself."""
    value = parse_duration(text)
    assert isinstance(value, float) or value is text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.001, "1ms"),
        (0.5, "500ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (90.0, "90s"),
        (300.0, "5m"),
        (86_400.0, "24h"),
    ],
)
def test_a_duration_is_written_as_people_write_it(seconds: float, text: str) -> None:
    """The greatest unit that divides it is taken."""
    assert written(seconds) == text


@given(st.integers(1, 10**10))
def test_what_is_written_is_read_back(milliseconds: int) -> None:
    """A written duration means the same number of seconds."""
    assert parse_duration(written(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)
