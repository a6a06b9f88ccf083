"""Logging: one wide line per record, an event's name and its fields; JSON, or readable on a terminal.

A line contains whatever the call passes, so no call passes a secret or a payload; `SecretStr` shows masked.
"""

import json
import logging
import math
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, TextIO, cast

import orjson

from config.visible import visible

Format = Literal["auto", "json", "console"]

# They log every request at "info", with the URL, which contains the message id.
_TALKATIVE = ("httpx", "httpcore")


def configure(level: str = "info", format: Format = "auto", stream: TextIO | None = None) -> None:  # noqa: A002
    """Send records from `level` up to `stream` (default: standard error), replacing earlier handlers."""
    target = sys.stderr if stream is None else stream
    readable = format == "console" or (format == "auto" and target.isatty())
    handler = logging.StreamHandler(target)
    handler.setFormatter(ConsoleFormatter() if readable else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def log_event(logger: logging.Logger, level: int, event: str, /, **fields: object) -> None:
    """Log `event` with its fields; from level error up also the exception being handled."""
    if logger.isEnabledFor(level):
        failed = level >= logging.ERROR and sys.exception() is not None
        logger.log(level, "%s", event, extra={"fields": fields}, exc_info=failed, stacklevel=2)


class JsonFormatter(logging.Formatter):
    """Write a record as one JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; what JSON can't represent is written as text, as a log call must not fail."""
        line = _line(record)
        try:
            return visible(orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
        except TypeError:
            return json.dumps(line, default=str, skipkeys=True)


class ConsoleFormatter(logging.Formatter):
    """Write a record as one readable line: time, level, event, name=value pairs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; control characters are escaped, so that no value can forge another line."""
        line = _line(record)
        time, level, event = str(line.pop("time")), str(line.pop("level")), str(line.pop("event"))
        line.pop("traceback", None)
        pairs = " ".join(f"{_escaped(str(name))}={_readable(value)}" for name, value in line.items())
        return f"{time[11:23]} {level.upper():<7} {_escaped(event)} {pairs}".rstrip()


def _line(record: logging.LogRecord) -> dict[str, object]:
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        "logger": record.name,
    }
    for name, value in _fields(record).items():
        line.setdefault(name, value)
    return line | _exception(record)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    fields: object = getattr(record, "fields", None)
    return cast("dict[str, object]", fields) if isinstance(fields, dict) else {}


def _exception(record: logging.LogRecord) -> dict[str, object]:
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    traceback_text = "".join(traceback.format_exception(error))
    return {"error": f"{type(error).__name__}: {error}", "error_at": place, "traceback": traceback_text}


def _readable(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    shown = ",".join(map(str, cast("list[object]", value))) if isinstance(value, list | tuple) else str(value)
    text = _escaped(shown)
    return f'"{text}"' if not text or " " in text or "=" in text else text


def _escaped(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class Sample:
    """Takes an even share, beginning with the first: ceil(n * share) of n."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._passed = 0
        self._taken = 0
        self._until = 0.0 if share > 0 else math.inf
        """The share is taken until so many have passed."""

    def take(self) -> bool:
        """Say whether this one is taken."""
        self._passed += 1
        if self._passed <= self._until:
            return False
        self._taken += 1
        self._until = self._taken / self._share
        return True
