import json
import logging
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.logging import ConsoleFormatter, JsonFormatter, Sample, configure, log_event

logger = logging.getLogger("otpreport.test")

pytestmark = pytest.mark.usefixtures("restored_logging")


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def logged(stream: StringIO) -> dict[str, object]:
    """Return the one JSON line of `stream`."""
    (line,) = stream.getvalue().splitlines()
    parsed: dict[str, object] = json.loads(line)
    return parsed


def test_one_json_line_per_record() -> None:
    """Off a terminal an event is one JSON object: UTC time, level, event, logger, then its fields."""
    stream = StringIO()
    configure("info", "auto", stream)
    log_event(logger, logging.INFO, "attempt", account="tencent", attempt=2, text="two\nlines")
    line = logged(stream)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "info",
        "event": "attempt",
        "logger": "otpreport.test",
        "account": "tencent",
        "attempt": 2,
        "text": "two\nlines",
    }


def test_readable_on_a_terminal() -> None:
    """On a terminal an event is one line for people, and a value can neither break it nor forge another."""
    stream = Terminal()
    configure("info", "auto", stream)
    log_event(logger, logging.INFO, "attempt", ms=1.23456789, text="two\nlines \x1b[31m", empty="")
    (line,) = stream.getvalue().splitlines()
    assert (
        line[12:] == r' INFO    attempt logger=otpreport.test ms=1.23457 text="two\nlines \x1b[31m" empty=""'
    )


def test_the_format_can_be_forced() -> None:
    """LOG_FORMAT wins over what the stream is."""
    terminal, file = Terminal(), StringIO()
    configure("info", "json", terminal)
    log_event(logger, logging.INFO, "attempt")
    configure("info", "console", file)
    log_event(logger, logging.INFO, "attempt")
    assert terminal.getvalue().startswith("{")
    assert not file.getvalue().startswith("{")


def test_levels_below_are_dropped() -> None:
    """LOG_LEVEL is the least level that is logged."""
    stream = StringIO()
    configure("warning", "json", stream)
    log_event(logger, logging.INFO, "quiet")
    log_event(logger, logging.WARNING, "loud")
    assert logged(stream)["event"] == "loud"


def test_an_exception_is_folded_into_the_line() -> None:
    """A traceback stays in its record's line, and the cause stands beside it."""
    stream = StringIO()
    configure("info", "json", stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log_event(logger, logging.ERROR, "failed", account="tencent")
    line = logged(stream)
    assert line["error"] == "ValueError: two\nlines"
    assert str(line["error_at"]).split(":")[0].endswith("test_logging.py")
    assert str(line["traceback"]).startswith("Traceback")


def test_an_exception_on_a_terminal_is_one_line() -> None:
    """The readable form folds the exception too, to what and where."""
    stream = StringIO()
    configure("info", "console", stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("failed")
    (line,) = stream.getvalue().splitlines()
    assert r'error="ValueError: two\nlines" error_at=' in line


def test_secrets_show_masked() -> None:
    """A SecretStr that reaches a field by mistake is stars in both forms."""
    for format_ in (JsonFormatter(), ConsoleFormatter()):
        record = logging.LogRecord("x", logging.INFO, "", 0, "attempt", (), None)
        record.fields = {"key": SecretStr("s3cr3t"), "nested": {"key": SecretStr("s3cr3t")}}
        assert "s3cr3t" not in format_.format(record)
        assert "***" in format_.format(record)


def test_fields_do_not_replace_the_record_s_own() -> None:
    """An event's field can't change the time, the level or the event of its line."""
    stream = StringIO()
    configure("info", "json", stream)
    log_event(logger, logging.INFO, "attempt", event="other", level="none", time=0)
    line = logged(stream)
    assert (line["event"], line["level"]) == ("attempt", "info")


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.floats(), st.binary(), st.none())))
def test_any_fields_give_one_line(fields: dict[str, object]) -> None:
    """Whatever a field holds, a log call writes one line and does not fail."""
    record = logging.LogRecord("x", logging.INFO, "", 0, "attempt\n", (), None)
    record.fields = fields
    assert json.loads(JsonFormatter().format(record))["event"] == "attempt\n"
    assert "\n" not in JsonFormatter().format(record)
    assert len(ConsoleFormatter().format(record).splitlines()) == 1


def test_httpx_does_not_log_urls() -> None:
    """An HTTP library's line per request would show message ids, so its level is raised."""
    stream = StringIO()
    configure("debug", "json", stream)
    logging.getLogger("httpx").info("HTTP Request: POST https://host/?MessageId=1")
    assert not stream.getvalue()


@given(st.floats(0, 1), st.integers(1, 500))
def test_a_sample_takes_its_share(share: float, passing: int) -> None:
    """Of any number that pass by, the share is taken, to within one, and the first one if any."""
    sample = Sample(share)
    taken = [sample.take() for _ in range(passing)]
    assert abs(sum(taken) - share * passing) <= 1
    assert taken[0] is (share > 0)


def test_a_line_per_request_is_not_logged() -> None:
    """The lines of httpx hold URLs, and so perhaps a message id: only its warnings are logged."""
    stream = StringIO()
    configure("debug", "json", stream)
    logging.getLogger("httpx").info("HTTP Request: POST https://example.invalid/?MessageId=secret")
    logging.getLogger("httpx").warning("worth a line")
    assert logged(stream)["event"] == "worth a line"
