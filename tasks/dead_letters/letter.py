"""A dead letter as it is read back: the counterpart of `dead_letter.write`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import orjson

from tasks.body import message_ids
from tasks.shared import MAX_BYTES

UNREADABLE = "unreadable"
"""The reason shown for a record that can't be read as a dead letter."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter; `died_ms` is Redis' time, `raw` the message as sent, None where it was not read.

    One that `waits` is queued for replay.
    """

    id: str
    account: str
    died_ms: int
    reason: str
    in_doubt: bool
    story: Mapping[str, object]
    raw: bytes | None = None
    waits: bool = False
    length: int = 0
    """Bytes of the whole message; of one longer than MAX_BYTES only the first MAX_BYTES are kept, or read."""
    message_ids: frozenset[str] = frozenset()
    """The event's message id; where no event could be read, each that the message names."""

    @classmethod
    def parse(
        cls,
        account: str,
        id_: str,
        died_ms: int,
        record: bytes,
        *,
        whole: bool,
        waits: bool = False,
        length: int = 0,
    ) -> Letter:
        """Read a record, or its first line alone. Anything else is returned as `unreadable`; it raises nothing.

        The message is kept only if `whole`; without an event it is needed for its message ids.
        `length` is the length of the stored message in bytes.
        """
        line, _, raw = record.partition(b"\n")
        story = _story(line)
        if story is None:
            reason, story, raw = UNREADABLE, {"why": "this record was not written by otpreport"}, record
        else:
            reason = str(story.get("reason"))
        in_doubt = story.get("in_doubt") is True
        length = max(length, len(raw), _int(story.get("bytes"), 0))
        event = cast("Mapping[str, object]", story.get("event") or {})
        ids = frozenset([str(event["message_id"])]) if "message_id" in event else message_ids(raw)
        return cls(id_, account, died_ms, reason, in_doubt, story, raw if whole else None, waits, length, ids)

    @property
    def readable(self) -> bool:
        """Whether the record is one of ours."""
        return self.reason != UNREADABLE

    @property
    def cut(self) -> bool:
        """Whether there is more of the message than was kept, or would be read: it can't be sent again."""
        return self.length > MAX_BYTES

    def text(self, field: str) -> str:
        """Return a field of the story as text; nothing where there is none."""
        value = self.story.get(field)
        return "" if value is None else str(value)

    @property
    def message_id(self) -> str:
        """The message id, or what may be it; several are possible in a message that is no event of ours."""
        return " ".join(sorted(self.message_ids))

    @property
    def replayed_ms(self) -> int | None:
        """When it had been replayed before it died again; None for a first death, or one that an older worker wrote."""
        value = self.story.get("replayed_at_ms")
        return value if isinstance(value, int) else None

    @property
    def attempts(self) -> list[Mapping[str, object]]:
        """The failed attempts, oldest first."""
        return cast("list[Mapping[str, object]]", self.story.get("attempts") or [])

    @property
    def event(self) -> Mapping[str, object]:
        """The event in its wire form; empty where the message could not be read as one."""
        return cast("Mapping[str, object]", self.story.get("event") or {})

    @property
    def first_ms(self) -> int:
        """When the message was first leased."""
        return _int(self.story.get("first_at_ms"), self.died_ms)

    @property
    def occurred_ms(self) -> int:
        """When the code was entered; where no event could be read, when the message was first leased."""
        return _int(self.event.get("occurred_at"), self.first_ms)


def _story(line: bytes) -> dict[str, object] | None:
    try:
        story: object = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, object]", story) if isinstance(story, dict) and "reason" in story else None


def _int(value: object, default: int) -> int:
    return value if isinstance(value, int) else default
