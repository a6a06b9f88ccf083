"""What is written for events: reports for the workers and, with tracking, notices for the tracker of OTPs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from otpreport.event import Dispatch, Event, Verification
from otpreport.push import Push
from otpreport.wire import NOTICES, encode, encode_noted, notice, queue_name


@dataclass(slots=True)
class Write:
    """A push, and the events whose receipt it decides; of `notices` the receipt is that of their report."""

    push: Push
    events: Sequence[Event]
    notices: int = 0


@dataclass(frozen=True, slots=True)
class _Lists:
    """An account's Redis lists, and the commands that write a report, a notice, and both: formats (`_command`)."""

    reports: str
    notices: str
    report: bytes
    notice: bytes
    both: bytes


class Writing:
    """Encodes events; what is wrong with one that nothing validated raises an error of any kind."""

    def __init__(self, key_prefix: str, *, tracking: bool) -> None:
        self._key_prefix = key_prefix
        self._tracking = tracking

    def single(self, event: Event) -> tuple[bytes, tuple[bytes, ...]]:
        """Return the commands that write one event, and the message of each; the first decides its receipt."""
        if isinstance(event, Dispatch):
            line = notice(event)
            return _lists(self._key_prefix, event.account).notice % (len(line), line), (line,)
        task_id = os.urandom(16).hex()
        if not (self._tracking and event.verified):
            message = encode(event, task_id=task_id)
            return _lists(self._key_prefix, event.account).report % (len(message), message), (message,)
        message, line = encode_noted(event, task_id=task_id)
        commands = _lists(self._key_prefix, event.account).both % (len(message), message, len(line), line)
        return commands, (message, line)

    def pushes(self, event: Event, messages: Sequence[bytes]) -> list[Push]:
        """Return what `single` wrote, for the spool."""
        lists = _lists(self._key_prefix, event.account)
        keys = (lists.notices,) if isinstance(event, Dispatch) else (lists.reports, lists.notices)
        return [Push(key, (message,)) for key, message in zip(keys, messages, strict=False)]

    def many(self, events: Sequence[Event]) -> list[Write]:
        """Return the writes for events of any accounts: of each account its reports, then its notices."""
        groups: dict[str, list[Event]] = {}
        for event in events:
            groups.setdefault(event.account, []).append(event)
        return [write for account, group in groups.items() for write in self._of_account(account, group)]

    def _of_account(self, account: str, events: Sequence[Event]) -> Iterator[Write]:
        lists = _lists(self._key_prefix, account)
        reports = [event for event in events if isinstance(event, Verification)]
        if reports:
            ids = os.urandom(16 * len(reports)).hex()
            messages = [
                encode(event, task_id=ids[32 * i : 32 * i + 32], noted=self._tracking and event.verified)
                for i, event in enumerate(reports)
            ]
            yield Write(Push(lists.reports, messages), reports)
        if not self._tracking:
            return
        dispatches = [event for event in events if isinstance(event, Dispatch)]
        notices = [notice(event) for event in events if isinstance(event, Dispatch) or event.verified]
        if notices:
            yield Write(Push(lists.notices, notices), dispatches, len(notices) - len(dispatches))


@lru_cache(1024)
def _lists(prefix: str, account: str) -> _Lists:
    reports = prefix + queue_name(account)
    notices = reports + NOTICES
    report, notice = _command(reports), _command(notices)
    return _Lists(reports, notices, report, notice, report + notice)


def _command(key: str) -> bytes:
    """Return the LPUSH of one message in Redis' protocol, as a format for the message's length and itself."""
    name = key.encode()
    return b"*3\r\n$5\r\nLPUSH\r\n$%d\r\n%b\r\n$%%d\r\n%%b\r\n" % (len(name), name.replace(b"%", b"%%"))
