"""The simulator over real sockets: what it accepts, refuses and writes down, and how it breaks."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests.support.calls import (
    ALIBABA_CN_KEY,
    ALIBABA_KEY,
    ALIBABA_TEMPORARY,
    KEYS,
    TENCENT_KEY,
    TENCENT_TEMPORARY,
    WireAnswer,
    WireCall,
    alibaba_call,
    right_call,
    send,
    tencent_call,
)
from tests.support.simulator import Json, SimulatorProcess
from tests.support.wait import until

PROVIDERS = ["tencent", "alibaba", "alibaba_cn"]

Build = Callable[[], WireCall]


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorProcess]:
    """One process for the whole file."""
    with SimulatorProcess({"keys": KEYS}) as process:
        yield process
        assert process.stop() == 0
        assert process.log == ""


@pytest.fixture
def simulator(running: SimulatorProcess) -> SimulatorProcess:
    """Give the process an empty ledger and a plan without faults."""
    running.set_plan({})
    until(lambda: running.summary()["connections"]["now"] == 0)
    running.reset()
    return running


def _plan(**fault: object) -> dict[str, object]:
    return {"faults": [fault]}


def _send_all(simulator: SimulatorProcess, calls: dict[str, str]) -> dict[str, WireAnswer]:
    """Send a right call for each message id and its provider, twelve at a time."""

    def one(message_id: str) -> WireAnswer:
        return send(simulator.url, right_call(calls[message_id], message_id))

    with ThreadPoolExecutor(12) as pool:
        return dict(zip(calls, pool.map(one, calls), strict=True))


def _row(simulator: SimulatorProcess) -> Json:
    (row,) = simulator.ledger()
    return row


def _connection(simulator: SimulatorProcess) -> socket.socket:
    parts = urlsplit(simulator.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)


def _read_answer(connection: socket.socket) -> WireAnswer:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return WireAnswer(response.status, dict(response.getheaders()), response.read())


# What is accepted

ACCEPTED: dict[str, Build] = {
    "tencent": tencent_call,
    "tencent, temporary key": lambda: tencent_call(key=TENCENT_TEMPORARY),
    "tencent, time": lambda: tencent_call(fields={"ConversionTime": int(time.time()) - 1}),
    "tencent, charset, action signed": lambda: tencent_call(
        headers={"Content-Type": "application/json; charset=utf-8"}, signed="content-type;host;x-tc-action"
    ),
    "tencent, clock 290 s behind": lambda: tencent_call(timestamp=int(time.time()) - 290),
    "tencent, clock 290 s ahead": lambda: tencent_call(timestamp=int(time.time()) + 290),
    "alibaba": alibaba_call,
    "alibaba, temporary key": lambda: alibaba_call(key=ALIBABA_TEMPORARY),
    "alibaba, false": lambda: alibaba_call(fields={"Delivered": "false"}),
    "alibaba, as the official SDK writes it": lambda: alibaba_call(fields={"Delivered": "True"}),
    "alibaba, time": lambda: alibaba_call(fields={"ConversionTime": str(int(time.time() * 1000) - 1000)}),
    "alibaba, To": lambda: alibaba_call(fields={"To": "85261234567"}),
    "alibaba, GET": lambda: alibaba_call(method="GET"),
    "alibaba, encoded id": lambda: alibaba_call("900^0 +/=~ä"),
    "alibaba, clock 890 s behind": lambda: alibaba_call(at=time.time() - 890),
    "alibaba_cn": lambda: alibaba_call(key=ALIBABA_CN_KEY),
    "alibaba_cn, owner": lambda: alibaba_call(key=ALIBABA_CN_KEY, fields={"OwnerId": "1"}),
}


@pytest.mark.parametrize("build", ACCEPTED.values(), ids=ACCEPTED)
def test_a_right_call_is_taken(simulator: SimulatorProcess, build: Build) -> None:
    """A right call is answered ok and its report is taken."""
    answer = send(simulator.url, build())
    row = _row(simulator)
    assert (answer.status, answer.code) == (200, "ok")
    assert (row["code"], row["taken"], row["signature_ok"], row["answered"]) == ("ok", True, True, True)


def test_success_looks_as_documented(simulator: SimulatorProcess) -> None:
    """Each provider has its own body for success, with a request id and a Date header."""
    answers = {name: send(simulator.url, right_call(name, "m")) for name in PROVIDERS}
    bodies = {name: json.loads(answer.body) for name, answer in answers.items()}
    tencent = bodies["tencent"]["Response"]
    assert tencent["ReportConversionStatus"] == {"Code": "ok", "Message": "report success"}
    assert (bodies["alibaba"]["ResponseCode"], bodies["alibaba"]["ResponseDescription"]) == ("OK", "OK")
    assert (bodies["alibaba_cn"]["Code"], bodies["alibaba_cn"]["Message"]) == ("OK", "OK")
    assert len({tencent["RequestId"], bodies["alibaba"]["RequestId"], bodies["alibaba_cn"]["RequestId"]}) == 3
    assert all(answer.headers["date"].endswith("GMT") for answer in answers.values())


# What is refused

_IN_AN_HOUR = 3600

UNAUTHENTIC_TENCENT: dict[str, tuple[Build, str]] = {
    "secret": (lambda: tencent_call(key=TENCENT_KEY | {"secret": "x"}), "AuthFailure.SignatureFailure"),
    "body": (
        lambda: replace(tencent_call(), body=tencent_call("other").body),
        "AuthFailure.SignatureFailure",
    ),
    "host": (lambda: tencent_call().with_header("Host", "other"), "AuthFailure.SignatureFailure"),
    "host not signed": (lambda: tencent_call(signed="content-type"), "AuthFailure.SignatureFailure"),
    "no date of that time": (
        lambda: tencent_call().with_header("X-TC-Timestamp", str(int(time.time()) - 200)),
        "AuthFailure.SignatureFailure",
    ),
    "key": (lambda: tencent_call(key=TENCENT_KEY | {"id": "AKIDOTHER"}), "AuthFailure.SecretIdNotFound"),
    "alibaba's key": (lambda: tencent_call(key=ALIBABA_KEY), "AuthFailure.SecretIdNotFound"),
    "late": (lambda: tencent_call(timestamp=int(time.time()) - 302), "AuthFailure.SignatureExpire"),
    "early": (lambda: tencent_call(timestamp=int(time.time()) + 302), "AuthFailure.SignatureExpire"),
    "no token": (
        lambda: tencent_call(key=TENCENT_TEMPORARY).with_header("X-TC-Token", None),
        "AuthFailure.TokenFailure",
    ),
    "wrong token": (
        lambda: tencent_call(key=TENCENT_TEMPORARY | {"token": "x"}),
        "AuthFailure.TokenFailure",
    ),
    "needless token": (lambda: tencent_call(key=TENCENT_KEY | {"token": "x"}), "AuthFailure.TokenFailure"),
    "authorization": (
        lambda: tencent_call().with_header("Authorization", "TC3-HMAC-SHA256 nonsense"),
        "AuthFailure.InvalidAuthorization",
    ),
    "no authorization": (
        lambda: tencent_call().with_header("Authorization", None),
        "AuthFailure.InvalidAuthorization",
    ),
    "no timestamp": (lambda: tencent_call().with_header("X-TC-Timestamp", None), "MissingParameter"),
    "timestamp": (lambda: tencent_call().with_header("X-TC-Timestamp", "now"), "InvalidParameter"),
}

INVALID_TENCENT: dict[str, tuple[Build, str]] = {
    "action": (lambda: tencent_call(headers={"X-TC-Action": "SendSms"}), "InvalidAction"),
    "version": (lambda: tencent_call(headers={"X-TC-Version": "2019-07-11"}), "NoSuchVersion"),
    "region": (lambda: tencent_call(headers={"X-TC-Region": "eu-frankfurt"}), "UnsupportedRegion"),
    "no region": (lambda: tencent_call().with_header("X-TC-Region", None), "MissingParameter"),
    "method": (lambda: tencent_call(method="GET"), "UnsupportedProtocol"),
    "content type": (lambda: tencent_call(headers={"Content-Type": "text/plain"}), "UnsupportedProtocol"),
    "no json": (lambda: tencent_call(body=b"{"), "InvalidParameter"),
    "no object": (lambda: tencent_call(body=b"[]"), "InvalidParameter"),
    "unknown field": (lambda: tencent_call(fields={"Delivered": True}), "UnknownParameter"),
    "no serial": (lambda: tencent_call(fields={"SerialNo": None}), "MissingParameter"),
    "no app": (lambda: tencent_call(fields={"SmsSdkAppId": None}), "MissingParameter"),
    "empty serial": (lambda: tencent_call(""), "InvalidParameterValue"),
    "serial's type": (lambda: tencent_call(fields={"SerialNo": 5}), "InvalidParameter"),
    "app's type": (lambda: tencent_call(fields={"SmsSdkAppId": 1400000001}), "InvalidParameter"),
    "time's type": (lambda: tencent_call(fields={"ConversionTime": "1"}), "InvalidParameter"),
    "boolean time": (lambda: tencent_call(fields={"ConversionTime": True}), "InvalidParameter"),
    "app": (
        lambda: tencent_call(fields={"SmsSdkAppId": "1400000002"}),
        "UnauthorizedOperation.SmsSdkAppIdVerifyFail",
    ),
    "milliseconds": (
        lambda: tencent_call(fields={"ConversionTime": int(time.time() * 1000) - 1000}),
        "InvalidParameterValue",
    ),
    "future": (
        lambda: tencent_call(fields={"ConversionTime": int(time.time()) + _IN_AN_HOUR}),
        "InvalidParameterValue",
    ),
    "zero": (lambda: tencent_call(fields={"ConversionTime": 0}), "InvalidParameterValue"),
    "negative": (lambda: tencent_call(fields={"ConversionTime": -1}), "InvalidParameterValue"),
}

UNAUTHENTIC_ALIBABA: dict[str, tuple[Build, int, str]] = {
    "secret": (lambda: alibaba_call(key=ALIBABA_KEY | {"secret": "x"}), 400, "SignatureDoesNotMatch"),
    "query": (
        lambda: replace(alibaba_call(), target="/?Delivered=true&MessageId=2"),
        400,
        "SignatureDoesNotMatch",
    ),
    "header": (lambda: alibaba_call().with_header("host", "other"), 400, "SignatureDoesNotMatch"),
    "content hash": (
        lambda: alibaba_call(headers={"x-acs-content-sha256": "0" * 64}),
        400,
        "SignatureDoesNotMatch",
    ),
    "host not signed": (lambda: alibaba_call(unsigned=frozenset({"host"})), 400, "IncompleteSignature"),
    "nonce not signed": (
        lambda: alibaba_call(unsigned=frozenset({"x-acs-signature-nonce"})),
        400,
        "IncompleteSignature",
    ),
    "content type not signed": (
        lambda: alibaba_call().with_header("content-type", "application/json"),
        400,
        "IncompleteSignature",
    ),
    "authorization": (
        lambda: alibaba_call().with_header("Authorization", "ACS3-HMAC-SHA256 nonsense"),
        400,
        "IncompleteSignature",
    ),
    "no authorization": (
        lambda: alibaba_call().with_header("Authorization", None),
        400,
        "IncompleteSignature",
    ),
    "no nonce": (
        lambda: alibaba_call().with_header("x-acs-signature-nonce", None),
        400,
        "MissingSignatureNonce",
    ),
    "no date": (lambda: alibaba_call().with_header("x-acs-date", None), 400, "MissingTimestamp"),
    "key": (lambda: alibaba_call(key=ALIBABA_KEY | {"id": "other"}), 404, "InvalidAccessKeyId.NotFound"),
    "the other site's key": (
        lambda: alibaba_call(key=ALIBABA_KEY | {"provider": "alibaba_cn"}),
        404,
        "InvalidAccessKeyId.NotFound",
    ),
    "late": (lambda: alibaba_call(at=time.time() - 903), 400, "InvalidTimeStamp.Expired"),
    "early": (lambda: alibaba_call(at=time.time() + 903), 400, "InvalidTimeStamp.Expired"),
    "date": (lambda: alibaba_call(headers={"x-acs-date": "today"}), 400, "InvalidTimeStamp.Format"),
    "no token": (
        lambda: alibaba_call(key=ALIBABA_TEMPORARY).with_header("x-acs-security-token", None),
        400,
        "MissingSecurityToken",
    ),
    "wrong token": (
        lambda: alibaba_call(key=ALIBABA_TEMPORARY | {"token": "x"}),
        400,
        "InvalidSecurityToken.MismatchWithAccessKey",
    ),
    "needless token": (
        lambda: alibaba_call(key=ALIBABA_KEY | {"token": "x"}),
        400,
        "InvalidSecurityToken.MismatchWithAccessKey",
    ),
}

INVALID_ALIBABA: dict[str, tuple[Build, int, str]] = {
    "method": (lambda: alibaba_call(method="PUT"), 400, "UnsupportedHTTPMethod"),
    "action": (lambda: alibaba_call(headers={"x-acs-action": "SendSms"}), 404, "InvalidApi.NotFound"),
    "version": (lambda: alibaba_call(headers={"x-acs-version": "2017-05-25"}), 404, "InvalidApi.NotFound"),
    "path": (lambda: alibaba_call(path="/v3/"), 404, "InvalidApi.NotFound"),
    "body": (lambda: alibaba_call(body=b"MessageId=1"), 400, "InvalidParameter"),
    "unknown parameter": (lambda: alibaba_call(fields={"Verified": "true"}), 400, "InvalidParameter"),
    "the other site's parameter": (
        lambda: alibaba_call(key=ALIBABA_CN_KEY, fields={"To": "85261234567"}),
        400,
        "InvalidParameter",
    ),
    "no id": (lambda: alibaba_call(fields={"MessageId": None}), 400, "MissingMessageId"),
    "empty id": (lambda: alibaba_call(""), 400, "InvalidParameter"),
    "no outcome": (lambda: alibaba_call(fields={"Delivered": None}), 400, "MissingDelivered"),
    "outcome": (lambda: alibaba_call(fields={"Delivered": "1"}), 400, "InvalidParameter"),
    "time's type": (lambda: alibaba_call(fields={"ConversionTime": "1.5"}), 400, "InvalidParameter"),
    "seconds": (
        lambda: alibaba_call(fields={"ConversionTime": str(int(time.time()) - 1)}),
        200,
        "INVALID_PARAMETERS",
    ),
    "zero": (lambda: alibaba_call(fields={"ConversionTime": "0"}), 200, "INVALID_PARAMETERS"),
    "future": (
        lambda: alibaba_call(fields={"ConversionTime": str(int((time.time() + _IN_AN_HOUR) * 1000))}),
        200,
        "INVALID_PARAMETERS",
    ),
}


def _assert_refused(simulator: SimulatorProcess, answer: WireAnswer, code: str, *, signed: bool) -> None:
    row = _row(simulator)
    assert answer.code == code
    assert (row["code"], row["taken"], row["signature_ok"]) == (code, False, signed)
    assert simulator.summary()["taken"] == 0


@pytest.mark.parametrize(("build", "code"), UNAUTHENTIC_TENCENT.values(), ids=UNAUTHENTIC_TENCENT)
def test_tencent_refuses_what_is_not_authentic(simulator: SimulatorProcess, build: Build, code: str) -> None:
    """A wrong signature, key, time or token is refused with Tencent's code, in HTTP 200."""
    answer = send(simulator.url, build())
    assert answer.status == 200
    assert set(json.loads(answer.body)["Response"]) == {"Error", "RequestId"}
    _assert_refused(simulator, answer, code, signed=False)


@pytest.mark.parametrize(("build", "code"), INVALID_TENCENT.values(), ids=INVALID_TENCENT)
def test_tencent_refuses_what_is_invalid(simulator: SimulatorProcess, build: Build, code: str) -> None:
    """A wrong action, region, field or value is refused with Tencent's code, though well signed."""
    answer = send(simulator.url, build())
    assert answer.status == 200
    _assert_refused(simulator, answer, code, signed=True)


@pytest.mark.parametrize(("build", "status", "code"), UNAUTHENTIC_ALIBABA.values(), ids=UNAUTHENTIC_ALIBABA)
def test_alibaba_refuses_what_is_not_authentic(
    simulator: SimulatorProcess, build: Build, status: int, code: str
) -> None:
    """A wrong signature, key, time, nonce or token is refused with the gateway's status, code and body."""
    answer = send(simulator.url, build())
    assert answer.status == status
    assert set(json.loads(answer.body)) == {"RequestId", "HostId", "Code", "Message", "Recommend"}
    _assert_refused(simulator, answer, code, signed=False)


@pytest.mark.parametrize(("build", "status", "code"), INVALID_ALIBABA.values(), ids=INVALID_ALIBABA)
def test_alibaba_refuses_what_is_invalid(
    simulator: SimulatorProcess, build: Build, status: int, code: str
) -> None:
    """A wrong action, version, parameter or value is refused with its status and code, though well signed."""
    answer = send(simulator.url, build())
    assert answer.status == status
    _assert_refused(simulator, answer, code, signed=True)


def test_alibaba_refuses_a_nonce_it_has_seen(simulator: SimulatorProcess) -> None:
    """The same bytes twice are refused the second time; the same report with another nonce is not."""
    call = alibaba_call()
    codes = [send(simulator.url, it).code for it in (call, call, alibaba_call())]
    assert codes == ["ok", "SignatureNonceUsed", "ok"]


def test_tencent_takes_the_same_bytes_twice(simulator: SimulatorProcess) -> None:
    """Tencent knows no nonce: a repeated call counts twice, and the ledger says so."""
    call = tencent_call()
    assert [send(simulator.url, call).code for _ in range(2)] == ["ok", "ok"]
    assert simulator.summary()["twice"] == 1


def test_what_is_no_provider_call_is_not_found(simulator: SimulatorProcess) -> None:
    """A request that names no provider is answered 404 and is in no ledger."""
    answer = send(simulator.url, WireCall("POST", "/", {"Host": "x"}))
    assert answer.status == 404
    assert simulator.ledger() == []


# The rate


def _burst(simulator: SimulatorProcess, provider: str, count: int) -> list[WireAnswer]:
    return [send(simulator.url, right_call(provider, f"m-{n}")) for n in range(count)]


@pytest.mark.parametrize(
    ("provider", "key", "code"),
    [
        ("tencent", "AKIDTEST", "RequestLimitExceeded"),
        ("alibaba", "LTAITEST", "Throttling.User"),
        ("alibaba_cn", "LTAICHINA", "Throttling.User"),
    ],
)
def test_calls_above_the_rate_are_throttled(
    simulator: SimulatorProcess, provider: str, key: str, code: str
) -> None:
    """A call is throttled exactly when the second before it holds as many admitted calls as the rate."""
    simulator.change_plan(rates={key: 5})
    answers = _burst(simulator, provider, 15)
    admitted: list[float] = []
    for answer, row in zip(answers, simulator.ledger(), strict=True):
        is_full = sum(row["t"] - 1.0 < time for time in admitted) >= 5
        assert answer.code == row["code"] == (code if is_full else "ok")
        assert row["taken"] is not is_full
        if not is_full:
            admitted.append(row["t"])
    assert any(answer.code == code for answer in answers)
    assert simulator.key(provider, key)["rate"] == 5


def test_below_the_rate_nothing_is_throttled(simulator: SimulatorProcess) -> None:
    """The same calls under the documented rate are all taken."""
    assert {answer.code for answer in _burst(simulator, "tencent", 15)} == {"ok"}


def test_keys_have_a_rate_each(simulator: SimulatorProcess) -> None:
    """One key above its rate does not throttle another."""
    simulator.change_plan(rates={"AKIDTEST": 1})
    _burst(simulator, "tencent", 3)
    assert send(simulator.url, tencent_call("m", key=TENCENT_TEMPORARY)).code == "ok"


def test_a_throttled_call_may_be_told_when_to_come_back(simulator: SimulatorProcess) -> None:
    """Alibaba's throttled answers carry x-acs-retry-after where the plan says so, and otherwise not."""
    simulator.change_plan(rates={"LTAITEST": 1})
    assert all("x-acs-retry-after" not in answer.headers for answer in _burst(simulator, "alibaba", 4))
    simulator.change_plan(throttling={"retry_after_ms": 250, "retry_after_share": 1.0})
    throttled = [it for it in _burst(simulator, "alibaba", 4) if it.code == "Throttling.User"]
    assert throttled
    assert {answer.headers["x-acs-retry-after"] for answer in throttled} == {"250"}


def test_the_busiest_seconds_are_those_of_the_ledger(simulator: SimulatorProcess) -> None:
    """Worst sliding and aligned second, and the arrivals by second, are what the ledger's times give."""
    _send_all(simulator, {f"m-{n}": "tencent" for n in range(150)})
    rows = simulator.ledger()
    times = [row["t"] for row in rows]
    figures = simulator.key("tencent")
    seconds = Counter(int(row["unix"]) for row in rows)
    assert times == sorted(times)
    assert figures["sliding"]["worst"] == max(sum(end - 1.0 < t <= end for t in times) for end in times)
    assert figures["aligned"]["worst"] == max(seconds.values())
    assert simulator.seconds("AKIDTEST") == dict(seconds)


# Faults: what the client sees, and whether the report counts


@pytest.mark.parametrize(
    ("provider", "code", "status"),
    [
        ("tencent", "InternalError.Timeout", 200),
        ("tencent", "RequestLimitExceeded.UinLimitExceeded", 200),
        ("alibaba", "InternalError", 500),
        ("alibaba", "ServiceUnavailable", 503),
        ("alibaba", "Throttling.Api", 400),
        ("alibaba", "Forbidden.RAM", 403),
        ("alibaba", "DATA_NOT_EXIST", 200),
        ("alibaba_cn", "isv.AMOUNT_NOT_ENOUGH", 200),
        ("alibaba_cn", "InvalidAccessKeyId.NotFound", 404),
    ],
)
def test_a_planned_code_has_its_form(
    simulator: SimulatorProcess, provider: str, code: str, status: int
) -> None:
    """A code is answered with the status and body that the provider uses for it."""
    simulator.set_plan(_plan(kind="code", code=code))
    answer = send(simulator.url, right_call(provider, "m"))
    assert (answer.status, answer.code) == (status, code)
    assert (_row(simulator)["code"], _row(simulator)["taken"]) == (code, False)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_inner_status_comes_with_200(simulator: SimulatorProcess, provider: str) -> None:
    """HTTP 200 without an error, and yet not ok inside."""
    simulator.set_plan(_plan(kind="inner", code="FAILED"))
    answer = send(simulator.url, right_call(provider, "m"))
    assert (answer.status, answer.code) == (200, "FAILED")
    assert b'"Error"' not in answer.body
    assert b'"HostId"' not in answer.body
    assert not _row(simulator)["taken"]


def test_status_and_retry_after_of_a_code_may_be_planned(simulator: SimulatorProcess) -> None:
    """The documents disagree on the status of throttling, so that a plan may set it."""
    simulator.set_plan(_plan(kind="code", code="Throttling", status=429, retry_after_ms=300))
    answer = send(simulator.url, alibaba_call())
    assert (answer.status, answer.headers["x-acs-retry-after"]) == (429, "300")


PAGES = {"unavailable": 503, "html": 200, "empty": 403}


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_instead_of_an_answer(simulator: SimulatorProcess, kind: str, taken: bool) -> None:
    """A page of something in between has nothing of the provider; the report counts where planned."""
    simulator.set_plan(_plan(kind=kind, taken=taken))
    answer = send(simulator.url, tencent_call())
    assert answer.status == PAGES[kind]
    with pytest.raises(ValueError, match=r"Expecting value|JSON"):
        json.loads(answer.body)
    assert (_row(simulator)["code"], _row(simulator)["taken"]) == (kind, taken)


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_truncated_answer(simulator: SimulatorProcess, provider: str, taken: bool) -> None:
    """Half of the JSON is whole HTTP."""
    simulator.set_plan(_plan(kind="truncated", taken=taken))
    answer = send(simulator.url, right_call(provider, "m"))
    assert answer.status == 200
    assert answer.body.startswith(b'{"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.body)
    assert _row(simulator)["taken"] is taken


@pytest.mark.parametrize(
    ("fault", "error", "taken"),
    [
        ({"kind": "reset"}, ConnectionResetError, False),
        ({"kind": "reset", "taken": True}, ConnectionResetError, True),
        ({"kind": "close"}, http.client.RemoteDisconnected, False),
        ({"kind": "lost"}, http.client.RemoteDisconnected, True),
    ],
    ids=["reset before", "reset after", "close", "lost"],
)
def test_no_answer_at_all(
    simulator: SimulatorProcess, fault: dict[str, object], error: type[Exception], taken: bool
) -> None:
    """The connection ends instead of an answer, before or after the report was taken."""
    simulator.set_plan({"faults": [fault]})
    with pytest.raises(error) as caught:
        send(simulator.url, tencent_call())
    assert type(caught.value) is error
    row = _row(simulator)
    assert (row["code"], row["taken"], row["answered"]) == (fault["kind"], taken, False)
    assert simulator.summary()["taken_unanswered"] == taken


@pytest.mark.parametrize("taken", [False, True])
def test_hanging_ends_with_the_client(simulator: SimulatorProcess, taken: bool) -> None:
    """A hung call is in flight until the client gives up; others are answered meanwhile."""
    simulator.set_plan(_plan(kind="hang", message_id="hang-*", taken=taken))
    with _connection(simulator) as connection:
        connection.sendall(tencent_call("hang-1").encode())
        until(lambda: simulator.summary()["in_flight"]["now"] == 1)
        assert send(simulator.url, tencent_call("m")).code == "ok"
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert simulator.summary()["in_flight"]["now"] == 1
    until(lambda: simulator.summary()["in_flight"]["now"] == 0)
    hung = simulator.ledger()[0]
    assert (hung["code"], hung["taken"], hung["answered"]) == ("hang", taken, False)


def test_a_slow_drip_is_whole_in_the_end(simulator: SimulatorProcess) -> None:
    """The right answer comes in many small pieces over the planned time, and the report is taken."""
    simulator.set_plan(_plan(kind="drip", delay_ms=1000))
    pieces: list[bytes] = []
    with _connection(simulator) as connection:
        begin = time.monotonic()
        connection.sendall(tencent_call().encode())
        while not b"".join(pieces).endswith(b'000"}}'):
            pieces.append(connection.recv(4096))
        elapsed = time.monotonic() - begin
    assert len(pieces) > 5
    assert elapsed > 0.9
    assert (_row(simulator)["code"], _row(simulator)["taken"], _row(simulator)["answered"]) == (
        "ok",
        True,
        True,
    )


def _seconds_of(simulator: SimulatorProcess, call: WireCall) -> float:
    begin = time.monotonic()
    assert send(simulator.url, call).code == "ok"
    return time.monotonic() - begin


def test_slow_answers_are_slow_for_whom_they_are_planned(simulator: SimulatorProcess) -> None:
    """`slow` holds back the right answer of those it concerns."""
    simulator.set_plan(_plan(kind="slow", provider="alibaba", delay_ms=1500))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(_seconds_of, simulator, alibaba_call())
        until(lambda: simulator.summary()["in_flight"]["now"] == 1)
        assert send(simulator.url, tencent_call()).code == "ok"
        assert not slow.done()
        assert slow.result() >= 1.5


def test_latency_holds_back_every_answer(simulator: SimulatorProcess) -> None:
    """The base of the latency is the least time to an answer."""
    simulator.set_plan({"latency": {"base_ms": 200}})
    assert _seconds_of(simulator, tencent_call()) >= 0.2


def test_rules_by_message_id(simulator: SimulatorProcess) -> None:
    """Ids that begin with permanent- always get the planned code, others never."""
    simulator.set_plan(_plan(kind="code", code="InvalidParameterValue", message_id="permanent-*"))
    codes = [send(simulator.url, tencent_call(name)).code for name in ("permanent-1", "m", "permanent-1")]
    assert codes == ["InvalidParameterValue", "ok", "InvalidParameterValue"]


def test_a_fault_of_the_first_arrivals(simulator: SimulatorProcess) -> None:
    """An id that fails twice succeeds the third time."""
    simulator.set_plan(_plan(kind="code", code="InternalError", message_id="shaky-*", arrivals=2))
    codes = [send(simulator.url, tencent_call("shaky-1")).code for _ in range(3)]
    assert codes == ["InternalError", "InternalError", "ok"]


def test_shares_repeat_with_the_seed(simulator: SimulatorProcess) -> None:
    """The same seed meets the same ids with the same faults, in whatever order they come."""
    ids = [f"m-{n}" for n in range(60)]
    plan = _plan(kind="code", code="InternalError", share=0.5) | {"seed": 5}
    met: list[dict[str, str]] = []
    for order in (ids, ids[::-1]):
        simulator.reset()
        simulator.set_plan(plan)
        met.append({name: send(simulator.url, tencent_call(name)).code for name in order})
    simulator.reset()
    simulator.set_plan(plan | {"seed": 6})
    other = {name: send(simulator.url, tencent_call(name)).code for name in ids}
    assert met[0] == met[1]
    assert 10 < Counter(met[0].values())["InternalError"] < 50
    assert other != met[0]


def test_an_outage_ends_by_itself(simulator: SimulatorProcess) -> None:
    """Within its window everything is refused at the front door, and after it nothing."""
    simulator.set_plan(_plan(kind="unavailable", to_s=1.5))
    assert send(simulator.url, tencent_call()).status == 503
    until(lambda: send(simulator.url, tencent_call()).status == 200)
    codes = [row["code"] for row in simulator.ledger()]
    assert codes == sorted(codes, reverse=True)
    assert simulator.key("tencent")["codes"]["ok"] == 1


def test_an_outage_is_switched_on_and_off(simulator: SimulatorProcess) -> None:
    """A plan holds from the moment it is put, and a change of one field leaves the others."""
    simulator.set_plan({"seed": 9})
    statuses = [send(simulator.url, tencent_call()).status]
    simulator.change_plan(faults=[{"kind": "unavailable"}])
    statuses.append(send(simulator.url, tencent_call()).status)
    simulator.change_plan(faults=[])
    statuses.append(send(simulator.url, tencent_call()).status)
    assert statuses == [200, 503, 200]
    assert simulator.plan()["seed"] == 9


def test_a_change_of_the_rate_does_not_start_an_outage_anew(simulator: SimulatorProcess) -> None:
    """An outage that is over stays over when another field of the plan is changed."""
    simulator.set_plan(_plan(kind="unavailable", to_s=1.5))
    until(lambda: send(simulator.url, tencent_call()).status == 200)
    simulator.change_plan(rates={"AKIDTEST": 900})
    assert send(simulator.url, tencent_call()).status == 200
    simulator.change_plan(faults=simulator.plan()["faults"])
    assert send(simulator.url, tencent_call()).status == 503


def test_a_bad_call_gets_its_own_error_before_a_planned_one(simulator: SimulatorProcess) -> None:
    """Plans spoil right calls: a wrong signature stays a wrong signature."""
    simulator.set_plan(_plan(kind="code", code="InternalError"))
    assert send(simulator.url, tencent_call(key=TENCENT_KEY | {"secret": "x"})).code.startswith("AuthFailure")
    assert send(simulator.url, tencent_call()).code == "InternalError"


def test_a_lost_answer_takes_only_right_calls(simulator: SimulatorProcess) -> None:
    """A call that would be refused is not taken because its answer is lost."""
    simulator.set_plan(_plan(kind="lost"))
    with pytest.raises(http.client.RemoteDisconnected):
        send(simulator.url, tencent_call(key=TENCENT_KEY | {"secret": "x"}))
    assert (_row(simulator)["taken"], _row(simulator)["code"]) == (False, "AuthFailure.SignatureFailure")


def test_a_provider_whose_clock_is_wrong_says_so(simulator: SimulatorProcess) -> None:
    """With the provider's clock an hour ahead our time is expired, and its Date header is what fixes it."""
    simulator.set_plan({"clock_offset_s": 3600})
    answer = send(simulator.url, tencent_call())
    assert answer.code == "AuthFailure.SignatureExpire"
    date = time.mktime(time.strptime(answer.headers["date"], "%a, %d %b %Y %H:%M:%S GMT")) - time.timezone
    assert date - time.time() == pytest.approx(3600, abs=60)
    assert send(simulator.url, tencent_call(timestamp=int(time.time()) + 3600)).code == "ok"


def test_jitter_before_the_door_delays_the_arrival(simulator: SimulatorProcess) -> None:
    """With jitter the arrival is recorded later than the bytes came, by up to the planned time."""
    simulator.set_plan({"door_jitter_ms": 300, "seed": 1})
    sent: list[float] = []
    for n in range(8):
        sent.append(time.time())
        send(simulator.url, tencent_call(f"m-{n}"))
    delays = [row["unix"] - begin for row, begin in zip(simulator.ledger(), sent, strict=True)]
    assert max(delays) > 0.1
    assert max(delays) - min(delays) > 0.1


# Connections


def test_pipelined_calls_are_answered_in_their_order(simulator: SimulatorProcess) -> None:
    """A fast answer waits for the slow one before it; both arrive when their bytes are read."""
    slow = {"kind": "slow", "message_id": "slow-*", "delay_ms": 300}
    permanent = {"kind": "code", "message_id": "permanent-*", "code": "InvalidParameterValue"}
    simulator.set_plan({"faults": [slow, permanent]})
    calls = [tencent_call("slow-1"), tencent_call("permanent-1"), tencent_call("m")]
    with _connection(simulator) as connection:
        connection.sendall(b"".join(call.encode() for call in calls))
        received = b""
        while received.count(b"RequestId") < 3:
            received += connection.recv(65536)
    assert received.index(b"report success") < received.index(b"InvalidParameterValue")
    times = [row["t"] for row in simulator.ledger()]
    assert times[2] - times[0] < 0.3
    assert [row["message_id"] for row in simulator.ledger()] == ["slow-1", "permanent-1", "m"]


def test_a_call_in_pieces_arrives_with_its_last_byte(simulator: SimulatorProcess) -> None:
    """A request cut anywhere is whole in the end, and its time is that of the last piece."""
    data = tencent_call().encode()
    with _connection(simulator) as connection:
        for start in range(0, len(data) - 7, 97):
            connection.sendall(data[start : min(start + 97, len(data) - 7)])
            time.sleep(0.002)  # lets the pieces arrive apart
        time.sleep(0.3)  # the last piece is late on purpose
        last = time.time()
        connection.sendall(data[-7:])
        assert _read_answer(connection).code == "ok"
    assert _row(simulator)["unix"] > last - 0.05


def test_a_connection_is_kept_and_closed_on_demand(simulator: SimulatorProcess) -> None:
    """Two calls fit one connection; Connection: close ends it after the answer."""
    with _connection(simulator) as connection:
        connection.sendall(tencent_call("a").encode())
        assert _read_answer(connection).code == "ok"
        connection.sendall(tencent_call("b").with_header("Connection", "close").encode())
        assert _read_answer(connection).code == "ok"
        assert connection.recv(1) == b""
    assert len({row["connection"] for row in simulator.ledger()}) == 1


def test_what_is_no_http_is_refused(simulator: SimulatorProcess) -> None:
    """Garbage gets a 400 and the end of its connection, and harms nobody else."""
    with _connection(simulator) as connection:
        connection.sendall(b"\x16\x03\x01 no http at all\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert connection.recv(1) == b""
    assert send(simulator.url, tencent_call()).code == "ok"


def test_concurrency_is_counted(simulator: SimulatorProcess) -> None:
    """The most connections and calls at one time are what was really open."""
    simulator.set_plan(_plan(kind="hang", message_id="hang-*"))
    connections = [_connection(simulator) for _ in range(3)]
    for n, connection in enumerate(connections):
        connection.sendall(tencent_call(f"hang-{n}").encode())
    until(lambda: simulator.summary()["in_flight"] == {"now": 3, "max": 3})
    assert simulator.summary()["connections"] == {"now": 3, "max": 3}
    for connection in connections:
        connection.close()
    until(lambda: simulator.summary()["in_flight"] == {"now": 0, "max": 3})
    until(lambda: simulator.summary()["connections"] == {"now": 0, "max": 3})


def test_one_too_many_at_a_time_is_throttled() -> None:
    """A key with a limit of requests in flight has the one beyond it refused at once; what is over no longer counts."""
    keys = [key | {"in_flight": 2} for key in KEYS if key["provider"] == "tencent"]
    with SimulatorProcess({"keys": keys, "plan": _plan(kind="hang", message_id="hang-*")}) as simulator:
        connections = [_connection(simulator) for _ in range(2)]
        for n, connection in enumerate(connections):
            connection.sendall(tencent_call(f"hang-{n}").encode())
        until(lambda: simulator.summary()["in_flight"]["now"] == 2)
        assert send(simulator.url, tencent_call("third")).code == "RequestLimitExceeded"
        for connection in connections:
            connection.close()
        until(lambda: simulator.summary()["in_flight"]["now"] == 0)
        assert send(simulator.url, tencent_call("fourth")).code == "ok"
        found = simulator.key("tencent")["in_flight"]
        assert (found["now"], found["max"], found["limit"]) == (0, 3, 2)


# The ledger and the control API


def test_the_ledger_holds_every_arrival(simulator: SimulatorProcess) -> None:
    """Under concurrent calls each one has its row, and the figures are the sums of the rows."""
    calls = {f"{provider}-{n}": provider for provider in PROVIDERS for n in range(40)}
    simulator.set_plan(_plan(kind="code", code="SYSTEM_ERROR", provider="alibaba", share=0.5) | {"seed": 2})
    before = time.time()
    answers = _send_all(simulator, calls)
    rows = simulator.ledger()
    assert {row["message_id"]: (row["provider"], row["code"]) for row in rows} == {
        name: (provider, answers[name].code) for name, provider in calls.items()
    }
    assert all(before <= row["unix"] <= time.time() for row in rows)
    summary = simulator.summary()
    taken = sum(row["taken"] for row in rows)
    assert (summary["arrivals"], summary["taken"], summary["taken_ids"]) == (120, taken, taken)
    assert summary["twice"] == summary["taken_unanswered"] == summary["false_after_true"] == 0
    for entry in summary["keys"]:
        codes = Counter(row["code"] for row in rows if row["key"] == entry["key"])
        assert (entry["arrivals"], entry["codes"]) == (40, dict(codes))


def test_expectations_are_judged(simulator: SimulatorProcess) -> None:
    """What was never taken is named, whether or not it arrived; what nobody expected is counted."""
    simulator.set_plan(_plan(kind="code", code="InternalError", message_id="failed"))
    for name in ("a", "b", "failed", "extra"):
        send(simulator.url, tencent_call(name))
    judged = simulator.expect(["a", "b", "failed", "absent"])
    assert judged == {"missing": ["absent", "failed"], "never_arrived": 1, "unexpected": 1}
    assert simulator.expect(["a", "b", "extra"]) == {"missing": [], "never_arrived": 0, "unexpected": 0}
    assert simulator.expect(["a"], key="LTAITEST")["missing"] == ["a"]


def test_what_was_taken_twice_is_listed(simulator: SimulatorProcess) -> None:
    """An id taken twice with one outcome is listed; true after false is not; false after true is a fault."""
    for name in ("a", "b", "b", "b"):
        send(simulator.url, tencent_call(name))
    for outcome in ("false", "true"):
        send(simulator.url, alibaba_call("c", fields={"Delivered": outcome}))
    entry = {"provider": "tencent", "key": "AKIDTEST", "message_id": "b", "verified": True, "times": 3}
    assert simulator.twice() == simulator.summary()["twice_ids"] == [entry]
    assert simulator.summary()["false_after_true"] == 0
    send(simulator.url, alibaba_call("c", fields={"Delivered": "false"}))
    assert simulator.summary()["false_after_true"] == 1


def test_a_reset_empties_the_ledger_and_keeps_the_plan(simulator: SimulatorProcess) -> None:
    """After a reset no arrival is left, and what is in flight does not come back into it."""
    simulator.set_plan(_plan(kind="hang", message_id="hang-*"))
    with _connection(simulator) as connection:
        connection.sendall(tencent_call("hang-1").encode())
        until(lambda: len(simulator.ledger()) == 1)
        simulator.reset()
        assert simulator.ledger() == []
        assert simulator.summary()["arrivals"] == 0
    until(lambda: simulator.summary()["in_flight"]["now"] == 0)
    assert simulator.ledger() == []
    assert simulator.plan()["faults"][0]["kind"] == "hang"


def test_the_ledger_comes_in_pages(simulator: SimulatorProcess) -> None:
    """`from` and `limit` cut the ledger."""
    for n in range(5):
        send(simulator.url, tencent_call(f"m-{n}"))
    answer = send(simulator.url, WireCall("GET", "/-/ledger?from=1&limit=2", {"Host": "x"}))
    assert [json.loads(line)["n"] for line in answer.body.splitlines()] == [1, 2]


@pytest.mark.parametrize(
    ("request_line", "body", "status", "words"),
    [
        ("GET /-/healthz", b"", 200, b"ok"),
        ("GET /-/nothing", b"", 404, b""),
        ("DELETE /-/plan", b"", 404, b""),
        ("PUT /-/plan", b"{", 400, b"faults"),
        ("PUT /-/plan", b'{"sede": 1}', 400, b"plan.sede is no setting of the simulator"),
        ("PUT /-/plan", b'{"rates": {"nobody": 1}}', 400, b"names a key that does not exist: 'nobody'"),
        ("PATCH /-/plan", b"[]", 400, b"plan is wrong"),
        ("PATCH /-/plan", b'{"seed": "x"}', 400, b"plan.seed is wrong"),
        ("POST /-/expect", b"{}", 400, b"ids is missing"),
        ("GET /-/ledger?from=-1", b"", 400, b"must not be negative"),
    ],
)
def test_the_control_api_says_what_is_wrong(
    simulator: SimulatorProcess, request_line: str, body: bytes, status: int, words: bytes
) -> None:
    """A wrong request of the control API gets 404 or 400 with its faults, and changes nothing."""
    before = simulator.plan()
    method, path = request_line.split()
    answer = send(simulator.url, WireCall(method, path, {"Host": "x"}, body))
    assert answer.status == status
    assert words in answer.body
    assert simulator.plan() == before


def test_a_frozen_simulator_blames_itself(simulator: SimulatorProcess) -> None:
    """What arrives in a burst after the simulator's own stall is set aside, not judged."""
    threads = [threading.Thread(target=send, args=(simulator.url, tencent_call(f"m-{n}"))) for n in range(20)]
    simulator.freeze()
    for thread in threads:
        thread.start()
    time.sleep(0.3)  # the length of the stall
    simulator.thaw()
    for thread in threads:
        thread.join()
    sliding = simulator.key("tencent")["sliding"]
    assert simulator.summary()["lag"]["max"] > 0.2
    assert (sliding["worst"], sliding["worst_on_time"], sliding["set_aside"]) == (20, 0, 20)
