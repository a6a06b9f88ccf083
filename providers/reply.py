"""Separate a provider's own reply from anything else that may come back over HTTP, and classify it.

Three levels can fail: HTTP itself, the provider's gateway, and the report behind it. Every provider's reader
finds the level that answered; the rules here are the same for all.

Some providers have no code for success, or none at all. Their readers name what they see: `recorded` where an answer
has exactly the documented form of success, `bare` where its status alone is what is documented.

| what came back | judged as |
|---|---|
| a reply with a listed code | the table's class, whatever the HTTP status |
| ... the success code, but from the gateway or not with a documented status (200) | unknown: it proves nothing |
| ... success without a code, in an answer with a mark of somebody in between | unknown: it may be theirs |
| ... success without a byte, in an answer that ended with its connection | unknown: it may have been cut off |
| a listed status alone: no web page, at most 200 bytes, no such mark | the table's class, but permanent |
| a reply with an unlisted code | doubtful: never permanent; by the status where that says more (429, 5xx) |
| anything else: HTML, an empty 403, cut or foreign JSON | unknown: it may come from a proxy on the way |
| ... JSON that readers disagree on: a name twice in one object, NaN | unknown: which one was meant is a guess |
| ... with HTTP 429 | throttled, the one class given by a status alone: it only makes the event wait |
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeAlias, cast

from pydantic_core import from_json

from providers.base import Answer, Outcome, Result
from providers.between import in_between
from providers.codes import CodeTable
from providers.masking import Mask

MESSAGE_LIMIT = 300
NAME_LIMIT = 128
BODY_LIMIT = 64 * 1024
"""Bytes; the longest answer of any provider is below 2 KiB, more is not theirs and is not parsed."""
RETRY_AFTER_LIMIT = 3600.0
"""Seconds; a longer wait than this is taken for a mistake and cut."""
BARE_LIMIT = 200
"""Bytes of an answer whose status says all; a page is longer."""
RECORDED = "recorded"
"""The code of success where the provider has none: a row of its table."""


Json: TypeAlias = "dict[str, Json] | list[Json] | str | float | bool | None"
_DELIVERED, _UNKNOWN = Result.DELIVERED, Result.UNKNOWN
"""Python 3.11 takes 80 ns to find a member."""
_OK = frozenset({HTTPStatus.OK.value})
_NEVER_BARE = frozenset({Result.DELIVERED, Result.PERMANENT})


@dataclass(slots=True)  # it lives for one judgement; a frozen one takes three times as long to make
class Reply:
    """A well-formed answer of a provider; `final` where it speaks of the report, not of the request."""

    code: str
    message: str
    request_id: str
    final: bool


def judge(
    answer: Answer, reply: Reply | None, codes: CodeTable, mask: Mask, statuses: frozenset[int] = _OK
) -> Outcome:
    """Say what an answer means, by the rules above; `statuses` are those of success."""
    if reply is None:
        return _not_understood(answer, mask)
    result = codes.result(reply.code) or _unlisted(answer.status)
    if result is _DELIVERED and not (reply.final and answer.status in statuses):
        result = _UNKNOWN
    return Outcome(
        result,
        mask(reply.code, NAME_LIMIT),
        mask(reply.message, MESSAGE_LIMIT),
        mask(reply.request_id, NAME_LIMIT),
        None if result is _DELIVERED else _retry_after(answer.headers),
    )


def recorded(answer: Answer, request_id: str = "") -> Reply | None:
    """Return the reply of an answer whose form alone is success; None where somebody in between may have written it.

    Nor is it one without a byte that does not say so: its connection may have been cut before the body came.
    """
    if in_between(answer.headers) or not (answer.body or _says_its_end(answer)):
        return None
    return Reply(RECORDED, "", request_id, final=True)


def _says_its_end(answer: Answer) -> bool:
    """Whether an answer says by itself where it ends; a 204 ends with its head."""
    length, chunks = "content-length" in answer.headers, "transfer-encoding" in answer.headers
    return length or chunks or answer.status == HTTPStatus.NO_CONTENT


def bare(answer: Answer, codes: CodeTable) -> Reply | None:
    """Return the reply of an answer whose status is all it says; None where the table doesn't list that status.

    It is never success, nor permanent: anybody on the way may answer with a status.
    """
    code, body = str(answer.status), answer.body
    if (codes.result(code) or Result.PERMANENT) in _NEVER_BARE or len(body) > BARE_LIMIT:
        return None
    if body.lstrip()[:1] == b"<" or in_between(answer.headers):
        return None
    return Reply(code, body.decode(errors="replace"), "", final=False)


def json_object(body: bytes) -> Mapping[str, object] | None:
    """Parse a body that is one JSON object of a believable size and says one thing; None for any other."""
    if len(body) > BODY_LIMIT:
        return None
    try:
        whole: Json = from_json(body, allow_inf_nan=False, cache_strings="keys")
        if not isinstance(whole, dict):
            return None
        # each member has its colon; where there are more, some stand in texts or lists, or a name stands twice
        colons = body.count(b":")
        if colons != _members(whole) and (b"\\" in body or colons != _colons(whole)):
            json.loads(body.decode(), object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        return None
    return whole


def member(parent: Mapping[str, object] | None, name: str) -> Mapping[str, object] | None:
    """Return the object called `name`; None where there is none."""
    return None if parent is None else _mapping(parent.get(name))


def first(parent: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    """Return the first object in the list called `name`; None where there is none."""
    value = parent.get(name)
    return _mapping(cast("list[object]", value)[0]) if isinstance(value, list) and value else None


def text(parent: Mapping[str, object], name: str) -> str:
    """Return the text called `name`; empty where there is none."""
    value = parent.get(name)
    return value if isinstance(value, str) else ""


def code(parent: Mapping[str, object], name: str) -> str:
    """Return the code called `name`, a text or a whole number; empty where there is none."""
    value = parent.get(name)
    return str(value) if type(value) is int else text(parent, name)


def _members(value: dict[str, Json]) -> int:
    """Count the members of an object and of those in it; not in lists, of which no provider sends any."""
    count = len(value)
    for inner in value.values():
        if type(inner) is dict:
            count += _members(inner)
    return count


def _colons(value: dict[str, Json]) -> int:
    """Count the same with the colons in names and texts, which stand in the body as they are unless it escapes any."""
    count = len(value)
    for name, inner in value.items():
        count += name.count(":")
        if type(inner) is str:
            count += inner.count(":")
        elif type(inner) is dict:
            count += _colons(inner)
    return count


def _each_once(members: list[tuple[str, object]]) -> None:
    if len({name for name, _ in members}) != len(members):
        raise ValueError("a name stands twice")


def _mapping(value: object) -> Mapping[str, object] | None:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else None


def _unlisted(status: int) -> Result:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Result.THROTTLED
    return Result.UNKNOWN if status >= HTTPStatus.INTERNAL_SERVER_ERROR else Result.DOUBTFUL


def _not_understood(answer: Answer, mask: Mask) -> Outcome:
    throttled = answer.status == HTTPStatus.TOO_MANY_REQUESTS
    kind = answer.headers.get("content-type", "no content type")
    seen = f"not an answer of the provider: HTTP {answer.status}, {kind[:80]}, {len(answer.body)} bytes"
    return Outcome(
        Result.THROTTLED if throttled else Result.UNKNOWN,
        message=mask(seen, MESSAGE_LIMIT),
        retry_after=_retry_after(answer.headers),
    )


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Read `x-acs-retry-after` (milliseconds) or `Retry-After` (seconds, or a date: by the clock that wrote `Date`)."""
    for name, per_second in (("x-acs-retry-after", 1000), ("retry-after", 1)):
        value = headers.get(name, "").strip()
        if value.isascii() and value.isdigit():
            return min(int(value[:12]) / per_second, RETRY_AFTER_LIMIT)
    return _until(headers.get("retry-after", ""), headers.get("date", ""))


def _until(later: str, now: str) -> float | None:
    """Return the seconds between two dates of HTTP, both of which are in GMT."""
    if not (later.endswith(" GMT") and now.endswith(" GMT")):
        return None
    try:
        seconds = (parsedate_to_datetime(later) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, OverflowError, TypeError):  # the last where just one has a zone that it can read
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT)
