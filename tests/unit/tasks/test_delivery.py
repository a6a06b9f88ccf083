import base64
import json
import re
import subprocess
import zlib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otpreport import Dispatch, Verification
from otpreport.event import FIELDS
from otpreport.wire import EMBED, encode, notice
from tasks.delivery import Delivery, Dispatched, LeasePurpose, NotYet, Read, Undeliverable, read
from tasks.history import History
from tasks.message import of_our_client
from tasks.retry import Reason
from tasks.shared import MAX_BYTES, SOLITARY_DEATHS
from tests.support.leased import NOW_MS, event, leased, message
from tests.unit.otpreport.test_event import events

WIRE = event().to_wire()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def reading(raw: bytes, *, deaths: int = 0, solitary: int = 0) -> Read:
    """Return what a message is read as, one minute after the event."""
    return read(leased(raw, deaths=deaths, solitary=solitary), now_ms=NOW_MS + 60_000)


def iso(at_ms: int) -> str:
    """Return a time as Celery writes it."""
    return event(at_ms=at_ms).occurred_at.isoformat()


def test_what_the_reporter_sends_is_read() -> None:
    """The client's own message and one of a stock Celery app are both an event."""
    assert isinstance(ours := reading(encode(event(), task_id="1")), Delivery)
    assert isinstance(theirs := reading(message()), Delivery)
    assert ours.event == theirs.event == event()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"{}", "headers is not a JSON object"),
        (message()[:-1], "not JSON"),
        (message(envelope={"properties": 7}), "properties is not a JSON object"),
        (message(envelope={"content-type": "application/x-python-serialize"}), "content-type"),
        (message(envelope={"content-encoding": "utf-16"}), "content-encoding"),
        (message(envelope={"body": "%%%"}), "not base64"),
        (message(headers={"compression": "application/x-gzip"}), "compressed"),
        (message(body=b"{}"), "not protocol 2"),
        (message(body=b"[[],{}]"), "not [args, kwargs, embed]"),
        (message(body=b"[{},{},{}]"), "args is not a list"),
        (message(headers={"id": None}), "headers.id"),
        (message(headers={"task": None}), "headers.task"),
        (message(headers={"task": "celery.chord"}), "unknown task 'celery.chord'"),
        (message(args=[WIRE]), "one argument, `event`"),
        (message({}, args=[WIRE, WIRE]), "one argument, `event`"),
        (message({}, args=[7]), "`event` is not a JSON object"),
        (message({}), "one argument, `event`"),
        (message({"event": WIRE, "force": True}), "one argument, `event`"),
        (message({"event": [1]}), "`event` is not a JSON object"),
        (message({"event": WIRE | {"message_id": ""}}), "message_id"),
        (message({"event": WIRE | {"occurred_at": 1_767_225_600}}), "UNIX milliseconds, not seconds"),
        (message({"event": WIRE | {"occurred_at": 10**400}}), "occurred_at"),
        (message({"event": {"account": "tencent"}}), "message_id"),
        (message({"event": WIRE | {"account": "alibaba"}}), "came through the queue of 'tencent'"),
        (message(headers={"eta": "tomorrow"}), "headers.eta is not an ISO 8601 time"),
        (message(headers={"expires": 60}), "headers.expires is not an ISO 8601 time"),
        (b" " * (MAX_BYTES + 1), f"more than {MAX_BYTES}"),
        (
            message(envelope={"body": base64.b64encode(zlib.compress(b"[[], {}, {}]")).decode()}),
            "body is not JSON",
        ),
        (message(body=json.dumps([[], {"event": WIRE}, {}]).encode("utf-16")), "body is not JSON"),
        (message(body=b"\xef\xbb\xbf[[], {}, {}]"), "body is not JSON"),
        (message(body=b""), "body is not JSON"),
        (message(body=b"[" * 30_000), "body is not JSON: recursion limit exceeded"),
        (message(envelope={"body": ""}), "body is not JSON"),
        (message(envelope={"body": "W1td"[:-1]}), "not base64"),
        (message(envelope={"body": {"event": WIRE}}), "body is not a string"),
        (message(envelope={"content-type": "application/x-yaml"}), "content-type"),
        (message(envelope={"content-type": "application/x-msgpack"}), "content-type"),
        (message(envelope={"headers": None}), "headers is not a JSON object"),
        (message(envelope={"properties": None}), "body is not JSON"),  # it says of no encoding
        (message(headers={"task": ["otpreport.report"]}), "headers.task"),
        (message(headers={"id": 7}), "headers.id"),
        (message(headers={"eta": NOW_MS}), "headers.eta is not an ISO 8601 time"),
        (message(headers={"eta": False}), "headers.eta is not an ISO 8601 time"),
        (message(body=json.dumps([None, {"event": WIRE}, {}]).encode()), "args is not a list"),
        (message(body=json.dumps([[], None, {}]).encode()), "kwargs is not a JSON object"),
        (message({"event": json.dumps(WIRE)}), "`event` is not a JSON object"),
        (message({"event": None}), "`event` is not a JSON object"),
        (message(WIRE), "one argument, `event`"),
        (message({"event": WIRE | {"verified": "true"}}), "verified: must be true or false"),
        (message({"event": WIRE | {"message_id": 2640}}), "message_id: must be a string"),
        (message({"event": WIRE | {"occurred_at": 2**70}}), "after the year 9999"),
        (message({"event": WIRE | {"occurred_at": str(NOW_MS)}}), "text of digits"),
        (
            message(body=b'[[], {"event": {"message_id": "1", "occurred_at": 1e400}}, {}]'),
            "not a finite number",
        ),
        (message() + message(), "not JSON"),
    ],
)
def test_a_bad_message_says_what_is_wrong(raw: bytes, why: str) -> None:
    """Each kind of bad message is invalid, with a reason that names the fault."""
    bad = reading(raw)
    assert isinstance(bad, Undeliverable)
    assert bad.reason is Reason.INVALID
    assert why in bad.why


@pytest.mark.parametrize(
    "raw",
    [
        message(envelope={"properties": {"body_encoding": "base64"}}),
        message(envelope={"properties": {"body_encoding": "base64", "priority": "high", "delivery_tag": 7}}),
        message(headers={"retries": "three", "timelimit": "none", "stamps": [], "lang": None}),
        message(body=json.dumps([[], {"event": WIRE}, {}]).replace("{", '{"event": 1, ', 1).encode()),
        message({"event": WIRE | {"x": "y" * 40_000}}),
        message() + b"\r\n",
    ],
)
def test_what_is_not_needed_spoils_nothing(raw: bytes) -> None:
    """Properties that are left out or odd, a name twice, a long field of somebody else's, an end of line."""
    found = reading(raw)
    assert isinstance(found, Delivery)
    assert found.event == event()


def test_the_message_of_the_docs() -> None:
    """The whole message that a page shows for `LPUSH` is read as the event that it describes."""
    page = Path(__file__).parents[3] / "docs" / "message.md"
    shown = re.findall(r"^LPUSH otpreport\.tencent '(.*)'$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(shown) == 1
    found = reading(shown[0].encode())
    assert isinstance(found, Delivery)
    assert (found.event.message_id, found.event.occurred_at_ms) == ("2640:1", 1777636800000)


def test_the_lines_of_the_docs_that_write_a_message_of_this_moment() -> None:
    """What they give `redis-cli` is read as that event."""
    page = Path(__file__).parents[3] / "docs" / "message.md"
    [lines] = re.findall(
        r"^```sh\n(event=.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    script = lines.replace("redis-cli LPUSH otpreport.tencent ", "printf %s ")
    found = reading(subprocess.run(["sh", "-c", script], check=True, capture_output=True).stdout)
    assert isinstance(found, Delivery)
    assert (found.event.account, found.event.message_id) == ("tencent", "2640:1")


SENT = {"account": "tencent", "message_id": "2640 1\n", "sent_at": NOW_MS, "expires_in": 300, "country": "SG"}
PHONE = "+6591234567"


def told(otp: object, **headers: object) -> bytes:
    """Return a message of another producer that tells of an OTP that was sent."""
    return message({"otp": otp}, headers={"task": "otpreport.sent"} | headers)


@pytest.mark.parametrize("headers", [{}, {"eta": iso(NOW_MS + 10**9)}, {"expires": iso(NOW_MS)}])
@pytest.mark.parametrize("purpose", LeasePurpose)
def test_a_dispatch_is_read_as_its_notice(headers: dict[str, object], purpose: LeasePurpose) -> None:
    """What our client writes itself another producer has a worker write: at once, whatever its account's state."""
    sent = Dispatch.from_wire(SENT)
    for raw in (
        told(SENT, **headers),
        message({}, args=[SENT], headers={"task": "otpreport.sent"} | headers),
    ):
        assert read(leased(raw, purpose=purpose), now_ms=NOW_MS + 60_000) == Dispatched(notice(sent))
    assert notice(sent) == b"sent 1767225600000 300 SG 2640 1\n"


def test_what_a_dispatch_asks_for_in_vain() -> None:
    """What was to follow it is noted, as for a report."""
    found = reading(told(SENT, ignore_result=False, eta="2026-01-01T00:00:00"))
    assert found == Dispatched(notice(Dispatch.from_wire(SENT)), ("result", "eta"))


@pytest.mark.parametrize(
    ("otp", "why"),
    [
        *(
            (SENT | {name: PHONE}, f"{name}: is not a field of a Dispatch")
            for name in ("phone", "verified", "occurred_at")
        ),
        (SENT | {PHONE: 1}, "one of the names: is not a field"),
        *((SENT | {"country": given}, "country: must be") for given in (PHONE, "sg", None)),
        *((SENT | {"expires_in": given}, "expires_in: must be") for given in (29, 5111, "300", 300.5)),
        *(
            (SENT | {"sent_at": given}, "sent_at: ")
            for given in (1_767_225_600, "2026-05-01T12:00:00", PHONE)
        ),
        (SENT | {"account": "alibaba"}, "came through the queue of 'tencent'"),
        ({"account": "tencent"}, "message_id: is missing; sent_at: is missing"),
        ([SENT], "`otp` is not a JSON object"),
        (PHONE, "`otp` is not a JSON object"),
    ],
)
def test_a_wrong_dispatch_says_what_is_wrong(otp: object, why: str) -> None:
    """It is invalid for a reason that names the fault, and shows nothing of what was given."""
    bad = reading(told(otp))
    assert isinstance(bad, Undeliverable)
    assert (bad.reason, bad.event) == (Reason.INVALID, None)
    assert why in bad.why
    assert PHONE not in bad.why


@pytest.mark.parametrize("kwargs", [{"otp": SENT, "event": WIRE}, {"event": WIRE}, {}])
def test_a_dispatch_is_the_only_argument(kwargs: object) -> None:
    """Neither task takes the other's argument, nor both."""
    bad = reading(message(kwargs, headers={"task": "otpreport.sent"}))
    assert isinstance(bad, Undeliverable)
    assert "one argument, `otp`" in bad.why


def test_poison_is_no_dispatch() -> None:
    """A message that kills its workers is not read again, whatever it would say."""
    assert isinstance(reading(told(SENT), deaths=5, solitary=SOLITARY_DEATHS), Undeliverable)


def test_who_told_the_tracker() -> None:
    """Our client says in a header that it did; all others leave it to the worker."""
    for noted in (True, False):
        assert isinstance(ours := reading(encode(event(), task_id="1", noted=noted)), Delivery)
        assert ours.noted is noted
    assert isinstance(theirs := reading(message()), Delivery)
    assert not theirs.noted


def test_unknown_fields_are_read_over() -> None:
    """A producer of a later version is understood: fields that we do not know are left aside."""
    read_event = reading(message({"event": WIRE | {"locale": "zh"}}))
    assert isinstance(read_event, Delivery)
    assert read_event.event == event()


def test_an_event_that_kills_its_worker_alone_is_poison() -> None:
    """After so many solitary deaths a message is not even looked at; one death fewer and it is."""
    raw = b"\xff whatever kills"
    poison = reading(raw, deaths=5, solitary=SOLITARY_DEATHS)
    assert isinstance(poison, Undeliverable)
    assert poison.reason is Reason.POISON
    assert poison.event is None
    assert isinstance(reading(message(), deaths=4, solitary=SOLITARY_DEATHS - 1), Delivery)


def test_the_deaths_in_company_are_no_poison() -> None:
    """A crash loop of another cause makes no event poison, however many workers died with it."""
    assert isinstance(reading(message(), deaths=100, solitary=0), Delivery)


def test_an_eta_is_waited_for() -> None:
    """A message with an `eta` ahead waits until then; one whose `eta` has passed goes."""
    ahead = reading(message(headers={"eta": iso(NOW_MS + 90_000)}))
    assert ahead == NotYet(30.0, event())
    assert isinstance(reading(message(headers={"eta": iso(NOW_MS + 60_000)})), Delivery)


@pytest.mark.parametrize(("after", "good"), [(3_600_000, True), (3_600_001, False), (10**12, False)])
@pytest.mark.parametrize("passed", [True, False])
def test_an_eta_that_could_only_expire_is_invalid(*, after: int, good: bool, passed: bool) -> None:
    """An `eta` after `occurred_at` + MAX_AGE is a fault of its producer, at once and not when it has passed."""
    record = leased(message(headers={"eta": iso(NOW_MS + after)}))
    found = read(record, now_ms=NOW_MS + 2 * 10**12 * passed, max_age=3600.0)
    if good:
        assert isinstance(found, Delivery if passed else NotYet)
    else:
        assert isinstance(found, Undeliverable)
        assert (found.reason, found.event) == (Reason.INVALID, event())
        assert "`eta` lies after `occurred_at` + MAX_AGE" in found.why


def test_what_is_shed_waits_for_no_eta() -> None:
    """The operator drops the account's events: those that were to be sent later as well."""
    record = replace(leased(message(headers={"eta": iso(NOW_MS + 10**12)})), purpose=LeasePurpose.SHED)
    assert isinstance(read(record, now_ms=NOW_MS, max_age=3600.0), Delivery)


def test_what_has_expired_is_a_dead_letter() -> None:
    """A producer's `expires` that has passed ends the event, which stays readable; one ahead does not."""
    late = reading(message(headers={"expires": iso(NOW_MS + 60_000)}))
    assert isinstance(late, Undeliverable)
    assert (late.reason, late.event) == (Reason.EXPIRED, event())
    assert isinstance(reading(message(headers={"expires": iso(NOW_MS + 60_001)})), Delivery)


def test_a_time_without_a_zone_is_not_obeyed() -> None:
    """It may be any producer's local time: the event is reported at once, and the option is told."""
    for option, at_ms in (("eta", NOW_MS + 90_000), ("expires", NOW_MS)):
        found = reading(message(headers={option: iso(at_ms).replace("+00:00", "")}))
        assert isinstance(found, Delivery)
        assert found.ignored == (option,)


def test_an_event_may_be_the_only_positional_argument() -> None:
    """A producer that calls the task with its event and no name is understood."""
    found = reading(message({}, args=[WIRE]))
    assert isinstance(found, Delivery)
    assert found.event == event()


@pytest.mark.parametrize("headers", [{"eta": iso(NOW_MS + 90_000)}, {"expires": iso(NOW_MS)}])
def test_a_replayed_event_goes_at_once(headers: dict[str, str]) -> None:
    """The operator's replay counts, not the `eta` or `expires` of the first time."""
    record = leased(message(headers=headers), history=History(replayed_ms=NOW_MS))
    assert isinstance(read(record, now_ms=NOW_MS + 60_000), Delivery)


@given(st.binary(max_size=300))
def test_no_bytes_raise(raw: bytes) -> None:
    """Whatever bytes stand in a list, reading them raises nothing."""
    assert isinstance(reading(raw), Undeliverable)


@given(event_=JSON, headers=st.dictionaries(st.sampled_from(["eta", "expires", "id", "task"]), JSON))
def test_no_json_raises(event_: object, headers: dict[str, object]) -> None:
    """Whatever JSON stands where the event or a header should be, reading it raises nothing."""
    assert isinstance(reading(message({"event": event_}, headers=headers)), Undeliverable)


@given(field=st.sampled_from([field.name for field in fields(Verification)]), value=JSON)
def test_no_field_raises(field: str, value: object) -> None:
    """Whatever stands in a field of the event, it is read or refused, and never raises."""
    assert isinstance(reading(message({"event": WIRE | {field: value}})), Delivery | Undeliverable)


@given(st.text(max_size=30))
def test_half_a_character_raises_nothing(text: str) -> None:
    """A message id with half a surrogate pair, which JSON can write, raises nothing."""
    wire = json.dumps([[], {"event": WIRE | {"message_id": text + "\ud800"}}, {}]).encode()
    assert isinstance(reading(message(body=wire)), Undeliverable)


@given(st.datetimes().map(lambda moment: moment.isoformat()), st.sampled_from(["Z", "+23:59", "-23:59"]))
def test_no_time_raises(moment: str, zone: str) -> None:
    """The first and the last second of the calendar are read, in whatever zone."""
    headers = {"eta": moment + zone, "expires": moment + zone}
    assert isinstance(reading(message(headers=headers)), NotYet | Undeliverable)


ID = "0123456789abcdef" * 2


def ours(
    wire: str, *, noted: bool = False, task_id: str = ID, name: str = "event", follows: str = EMBED
) -> bytes:
    """Return a message as our client writes it, but for the JSON of its event, the argument's name and what follows."""
    raw = encode(event(), task_id=task_id, noted=noted)
    body = base64.b64encode(f'[[],{{"{name}":{wire}}},{follows}]'.encode("utf-8", "surrogatepass"))
    return re.sub(rb'"body":"[^"]*"', b'"body":"' + body + b'"', raw, count=1)


def same_in_general(raw: bytes) -> Delivery:
    """Return what a message is read as that our client did not write, for the end of its line."""
    assert of_our_client(raw + b"\n", "tencent") is None
    general = reading(raw + b"\n")
    assert isinstance(general, Delivery)
    return general


@given(events, st.booleans())
def test_a_message_of_our_client_is_recognised(any_event: Verification, noted: bool) -> None:
    """Whatever its event holds, it is read the short way, and as the general reader reads it."""
    of_tencent = replace(any_event, account="tencent")
    raw = encode(of_tencent, task_id=ID, noted=noted)
    general = same_in_general(raw)
    assert of_our_client(raw, "tencent") == (general.event, general.noted)
    assert (general.noted, general.ignored) == (noted, ())
    assert of_our_client(raw, "alibaba") is None


@st.composite
def json_of_events(draw: st.DrawFn) -> str:
    """Return the JSON of an event with a field or two that may be wrong."""
    changes = draw(st.dictionaries(st.sampled_from([*sorted(FIELDS), "locale"]), JSON, max_size=2))
    return json.dumps(draw(events).to_wire() | {"account": "tencent"} | changes, ensure_ascii=False)


@given(
    raw=st.builds(ours, json_of_events(), noted=st.booleans(), task_id=st.text(max_size=40)), data=st.data()
)
def test_what_is_nearly_ours_is_read_as_any_other(raw: bytes, data: st.DataObject) -> None:
    """The short way accepts nothing that the general reader would refuse or read as something else."""
    place, source = data.draw(st.integers(0, len(raw))), data.draw(st.integers(0, len(raw)))
    piece = data.draw(st.binary(max_size=3) | st.just(raw[source : source + 40]))
    cut = data.draw(st.integers(0, 40))
    for changed in (raw, raw[:place] + piece + raw[place + cut :]):
        if found := of_our_client(changed, "tencent"):
            general = same_in_general(changed)
            assert (found, ()) == ((general.event, general.noted), general.ignored)


DEEP = '{"a":' * 1022 + "1" + "}" * 1022
TEXT = json.dumps(WIRE)


@pytest.mark.parametrize(
    "raw",
    [
        ours(TEXT[:-1] + f',"deep":{DEEP}}}'),
        ours(TEXT[:-1] + " " * 60_000 + "}"),
        ours(json.dumps(WIRE | {"account": "alibaba"})),
        ours(TEXT, name="other"),
        ours(TEXT, follows='{"chain":[{"task":"t"}]}'),
        ours(TEXT, follows='{"chain":[{"task":"t"}]},' + EMBED),
        ours(f"{TEXT},{TEXT}"),
        ours(TEXT, task_id="\\" * 32),
        ours(TEXT, task_id="\x7f" * 32),
        ours(TEXT) * 2,
        ours(TEXT).replace(b"body", b"text", 1),
        b"~".join([ours(TEXT)[:20], ours(TEXT)[20:]]),
    ],
)
def test_what_only_looks_like_ours(raw: bytes) -> None:
    """A message that the general reader refuses, or that asks for more, is not read the short way."""
    assert of_our_client(raw, "tencent") is None
