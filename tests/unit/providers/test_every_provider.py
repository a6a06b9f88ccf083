"""What every provider of the registry must do; `tests/support/provider_samples.py` has one sample of each."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from providers import REGISTRY, Answer, Result, SignedRequest
from providers.base import UnreportableError, fingerprint
from providers.masking import shortened
from providers.proof import Standing, weigh
from tests.support.provider_samples import JSON, NONCE, NOW, SAMPLES, Sample, event

HTML = {"content-type": "text/html"}
EVENT = event()
FIELDS = ("code", "outcome", "Response", "Error", "ReportConversionStatus", "Code", "ResponseCode", "Message")

pytestmark = pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.label)


def headers(request: SignedRequest) -> dict[str, str]:
    """Return headers by lower-case name."""
    return {name.lower(): value for name, value in request.headers}


def judged(sample: Sample, status: int, body: bytes, names: Mapping[str, str] = JSON) -> Result:
    """Return the class of one answer."""
    return sample.provider().outcome(Answer(status, names, body), EVENT).result


class TestAnswers:
    """An answer means what the provider said, and nothing when the provider did not say it."""

    def test_success_is_delivered_with_its_request_id(self, sample: Sample) -> None:
        """The success code at the level of the report, in any case of letters, or the documented form is a delivery."""
        for code, answer in sample.successes("fine"):
            outcome = sample.provider().outcome(answer, EVENT)
            said = "" if sample.taken else "fine"
            assert (outcome.result, outcome.code, outcome.message) == (Result.DELIVERED, code, said)
            assert outcome.request_id == sample.request_id
            assert outcome.retry_after is None

    @pytest.mark.parametrize("status", [100, 200, 201, 202, 204, 301, 302, 400, 403, 429, 500, 503])
    def test_success_needs_its_status(self, sample: Sample, status: int) -> None:
        """Success under a status that is not documented for it proves nothing more than the status alone."""
        if status in sample.statuses:
            return
        for _, answer in sample.successes():
            result = judged(sample, status, answer.body)
            assert result is sample.by_status.get(status, result)
            assert result in {Result.UNKNOWN, *sample.by_status.values(), Result.THROTTLED}
            assert result is Result.UNKNOWN or status == 429 or status in sample.by_status

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("age", "7"),
            ("cf-mitigated", "challenge"),
            ("content-type", "text/html"),
            ("content-type", " TEXT/HTML; charset=utf-8"),
            ("content-type", "application/xhtml+xml"),
            ("proxy-authenticate", "Basic"),
            ("proxy-status", "ExampleCDN; error=http_request_denied"),
            ("refresh", "0; url=https://portal.example/"),
            ("server", "AkamaiGHost"),
            ("server", "BigIP"),
            ("server", "awselb/2.0"),
            ("server", "squid/6.6"),
            ("server", "Zscaler/6.2"),
            ("x-amzn-waf-action", "challenge"),
            ("x-dd-b", "1"),
            ("x-kpsdk-ct", "0"),
            ("x-squid-error", "ERR_ACCESS_DENIED 0"),
            ("x-vercel-mitigated", "challenge"),
        ],
    )  # fmt: skip
    def test_success_without_a_code_may_not_be_somebody_elses(
        self, sample: Sample, name: str, value: str
    ) -> None:
        """With the mark of a firewall, a portal or a cache it proves nothing, nor does a status alone."""
        provider = sample.provider()
        for taken in sample.taken:
            for headers, result in (
                (dict(taken.headers) | {name: value}, Result.UNKNOWN),
                (
                    dict(taken.headers) | {"server": "cloudflare", "via": "1.1 x", "age": "0"},
                    Result.DELIVERED,
                ),
            ):
                assert provider.outcome(Answer(taken.status, headers, taken.body), EVENT).result is result
        for status in sample.by_status:
            assert judged(sample, status, b"", {name: value}) is Result.UNKNOWN
            assert judged(sample, status, b"", {"via": "1.1 x"}) is sample.by_status[status]

    def test_a_status_alone_has_next_to_no_body(self, sample: Sample) -> None:
        """A page, or more than 200 bytes, is not the provider's way to say nothing; and it is never permanent."""
        for status, result in sample.by_status.items():
            assert result not in {Result.PERMANENT, Result.DELIVERED}
            assert judged(sample, status, b"x" * 200, {}) is result
            assert judged(sample, status, b"x" * 201, {}) is Result.UNKNOWN
            assert judged(sample, status, b" <html>", {}) is Result.UNKNOWN

    def test_success_needs_the_level_of_the_report(self, sample: Sample) -> None:
        """A gateway that says OK, or an answer of another shape that does, is no delivery."""
        own = {answer.body for _, answer in sample.successes()}
        others = (answer.body for other in SAMPLES.values() for _, answer in other.successes())
        for body in (
            *(body for body in others if body not in own),
            *(() if sample.final_body else sample.bodies(sample.success)),
            {"Response": {"Code": "ok"}},
            {"Response": {"Error": {"Code": "ok"}, "ReportConversionStatus": {"Code": "ok"}}},
            {"Code": "x", "ResponseCode": "OK"},
            {"code": "OK", "responsecode": "OK"},
            {"status": "OK"},
            {"data": {"Code": "OK"}},
        ):
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            assert judged(sample, 200, raw) is not Result.DELIVERED, body

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 500, 503])
    def test_a_listed_code_counts_whatever_the_status(self, sample: Sample, status: int) -> None:
        """The code decides, not the HTTP status it came with."""
        for code, result in (
            (sample.throttled, Result.THROTTLED),
            (sample.permanent, Result.PERMANENT),
            (sample.account, Result.ACCOUNT),
        ):
            for body in sample.bodies(code) if code else ():
                assert judged(sample, status, body) is result

    @pytest.mark.parametrize(
        "code", ["NeverHeardOf", "Invalid", "Unknown.Sub", "成功", "O K", " ok", "200", "x" * 999]
    )
    def test_an_unlisted_code_is_never_final(self, sample: Sample, code: str) -> None:
        """A code that no page lists gets a few attempts; only with a 5xx or 429 does the status say more."""
        for body in sample.bodies(code):
            assert judged(sample, 200, body) is Result.DOUBTFUL
            assert judged(sample, 403, body) is Result.DOUBTFUL
            assert judged(sample, 503, body) is Result.UNKNOWN
            assert judged(sample, 429, body) is Result.THROTTLED

    def test_a_name_that_stands_twice_proves_nothing(self, sample: Sample) -> None:
        """One reader takes the first value and another the last, so neither is the provider's word."""
        for _, answer in sample.successes("fine: it was taken"):
            body = answer.body
            for old in re.findall(rb'"\w+"(?=: )', body):
                start = body.find(old + b": ")
                for name in (old, old[:2] + b"\\u%04x" % old[2] + old[3:]):
                    for value in (b'"InvalidParameter"', b"{}", b'{"Code": "ok"}'):
                        twice = body[:start] + name + b": " + value + b", " + body[start:]
                        assert judged(sample, answer.status, twice) is Result.UNKNOWN, twice

    @pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity"])
    def test_what_is_no_json_number_proves_nothing(self, sample: Sample, number: bytes) -> None:
        """JSON has neither, so whoever wrote it is not the provider."""
        for answer in sample.objects():
            body = answer.body[:-1]
            assert judged(sample, answer.status, body + b', "Extra": 1}') is Result.DELIVERED
            assert judged(sample, answer.status, body + b', "Extra": ' + number + b"}") is Result.UNKNOWN

    @pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 403, 404, 408, 500, 502, 503, 504, 599])
    @pytest.mark.parametrize(
        "body",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"OK", id="OK"),
            pytest.param(b'"OK"', id="text"),
            pytest.param(b"<html><body>OK</body></html>", id="html"),
            pytest.param(b"<?xml version='1.0'?><Error><Code>InvalidParameter</Code></Error>", id="xml"),
            pytest.param(b"[]", id="list"),
            pytest.param(b'[{"Code": "OK", "ResponseCode": "OK"}]', id="list of an object"),
            pytest.param(b"200", id="number"),
            pytest.param(b"NaN", id="nan"),
            pytest.param(b"null", id="null"),
            pytest.param(b"{}", id="empty object"),
            pytest.param(b'{"Response": null}', id="null inside"),
            pytest.param(b'{"Response": []}', id="list inside"),
            pytest.param(b'{"Response":{"Error":[],"ReportConversionStatus":{"Code":"ok"}}}', id="errors"),
            pytest.param(b'{"Response": {"ReportConversionStatus": "ok"}}', id="status text"),
            pytest.param(b'{"Response": {"ReportConversionStatus": {"Code": true}}}', id="true inside"),
            pytest.param(b'{"Code": 200, "ResponseCode": 200}', id="numbers for codes"),
            pytest.param(b'{"Code": ["OK"], "ResponseCode": ["OK"]}', id="lists for codes"),
            pytest.param(b'{"Code": "", "ResponseCode": ""}', id="empty codes"),
            pytest.param(b'{"Code": 1, "ResponseCode": "OK"}', id="one code of the wrong type"),
            pytest.param(b"\xff\xfe\x00", id="no utf-8"),
            pytest.param(b"[" * 100_000, id="deep"),
            pytest.param(b'{"Response":' * 5_000, id="deep objects"),
            pytest.param(b'{"Code": "\\ud800", "ResponseCode": "\\ud800"}', id="half a surrogate"),
        ],
    )  # fmt: skip
    def test_what_is_not_the_providers_is_unknown(self, sample: Sample, status: int, body: bytes) -> None:
        """Garbage is unknown, unless its status is listed: neither taken nor refused is proved."""
        for names in (JSON, HTML, {}):
            answer = Answer(status, names, body)
            outcome = sample.provider().outcome(answer, EVENT)
            assert outcome.result is sample.alone(answer)
            assert str(status) in outcome.message + outcome.code or outcome.result is Result.DELIVERED

    def test_a_429_of_anyone_is_throttled(self, sample: Sample) -> None:
        """Any server on the way may ask for less: waiting harms no event."""
        assert judged(sample, 429, b"<html>slow down", HTML) is Result.THROTTLED

    def test_truncated_success_is_unknown(self, sample: Sample) -> None:
        """A body cut anywhere is no delivery."""
        whole = {answer.body for _, answer in sample.successes()}
        for _, answer in sample.successes():
            for cut in (answer.body[:end] for end in range(len(answer.body))):
                assert cut in whole or judged(sample, answer.status, cut) is Result.UNKNOWN

    def test_a_huge_body_is_unknown(self, sample: Sample) -> None:
        """A body far beyond any answer of the provider is not its answer, even when it would parse."""
        for answer in sample.objects():
            assert judged(sample, answer.status, answer.body + b" " * 1000) is Result.DELIVERED
        for _, answer in sample.successes():
            assert judged(sample, answer.status, answer.body + b" " * 100_000) is Result.UNKNOWN

    def test_texts_are_bounded_and_printable(self, sample: Sample) -> None:
        """A provider's texts can neither flood nor forge a log line."""
        for body in sample.bodies("Bad\ncode" + "c" * 5000, "line\nforged\x1b[31m" + "m" * 5000):
            outcome = sample.provider().outcome(Answer(400, JSON, body), EVENT)
            assert len(outcome.message) == 300
            assert len(outcome.code) == 128
            assert (outcome.message + outcome.code + outcome.request_id).isprintable()
        short = sample.provider().outcome(sample.gateway(sample.account, "line\nforged\x1b[31m"), EVENT)
        assert short.message.startswith("line forged")
        assert short.message.isprintable()

    @pytest.mark.parametrize(
        ("name", "value", "seconds"),
        [
            ("x-acs-retry-after", "300", 0.3),
            ("x-acs-retry-after", " 1500 ", 1.5),
            ("retry-after", "2", 2.0),
            ("retry-after", "0", 0.0),
            ("retry-after", "99999999999999999999", 3600.0),
            ("retry-after", "-1", None),
            ("retry-after", "nan", None),
            ("retry-after", "²", None),
            ("retry-after", "", None),
            ("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", 30.0),
            ("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
            ("retry-after", "Thu, 22 Oct 2015 07:28:00 GMT", 3600.0),
            ("retry-after", "Wed, 99 Oct 2015 07:28:00 GMT", None),
            ("retry-after", "soon GMT", None),
            ("retry-after", f"Wed, 21 Oct 2015 07:28:00 +{'9' * 5000} GMT", None),
            ("retry-after", f"Wed, 21 Oct {'9' * 5000} 07:28:00 GMT", None),
        ],
    )
    def test_retry_after_is_in_seconds(
        self, sample: Sample, name: str, value: str, seconds: float | None
    ) -> None:
        """Alibaba's own header counts milliseconds, the standard one seconds or is a date; nonsense is ignored."""
        throttled = sample.gateway(sample.throttled)
        when = {name: value, "date": "Wed, 21 Oct 2015 07:27:30 GMT"}
        for answer in (
            Answer(throttled.status, dict(throttled.headers) | when, throttled.body),
            Answer(429, HTML | when, b""),
        ):
            assert sample.provider().outcome(answer, EVENT).retry_after == seconds

    @pytest.mark.parametrize("date", ["", "now", "Wed, 21 Oct 2015 07:27:30 +0100"])
    def test_a_date_means_nothing_without_another(self, sample: Sample, date: str) -> None:
        """Our own clock may be wrong, so a date counts from the answer's own."""
        when = {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT", "date": date}
        assert sample.provider().outcome(Answer(429, when, b""), EVENT).retry_after is None

    def test_alibabas_header_wins(self, sample: Sample) -> None:
        """Where both headers stand, the finer one counts."""
        answer = Answer(429, {"x-acs-retry-after": "300", "retry-after": "1"}, b"")
        assert sample.provider().outcome(answer, EVENT).retry_after == 0.3

    @given(
        status=st.integers(100, 599),
        names=st.dictionaries(
            st.sampled_from(["content-type", "retry-after", "x-acs-retry-after", "date"]), st.text()
        ),
        body=st.binary(),
    )
    def test_outcome_never_raises_for_bytes(
        self, sample: Sample, status: int, names: dict[str, str], body: bytes
    ) -> None:
        """No bytes at all make a provider raise, be sure of a delivery, or condemn the event."""
        assert judged(sample, status, body, names) is sample.alone(Answer(status, names, body))

    @given(
        status=st.integers(100, 599),
        body=st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.sampled_from(["ok", "OK"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text() | st.sampled_from(FIELDS), inner, max_size=4)
            ),
        ),
    )
    def test_outcome_never_raises_for_json(self, sample: Sample, status: int, body: object) -> None:
        """No JSON makes a provider raise, and only a status of success ever goes with a delivery."""
        result = judged(sample, status, json.dumps(body).encode())
        assert result is not Result.DELIVERED or status in sample.statuses

    @given(code=st.text(min_size=1), message=st.text(), status=st.integers(100, 599))
    def test_outcome_never_raises_for_replies(
        self, sample: Sample, code: str, message: str, status: int
    ) -> None:
        """No code makes a provider raise, at either level."""
        for body in sample.bodies(code, message):
            outcome = sample.provider().outcome(Answer(status, JSON, body), EVENT)
            assert outcome.result is not Result.DELIVERED or outcome.code.lower() == sample.success.lower()


class TestRequests:
    """A request says what happened, in the provider's unit, signed for one moment."""

    def test_request_says_what_happened(self, sample: Sample) -> None:
        """The message id and the time arrive, the time in the provider's unit."""
        reported = sample.reported(sample.provider().request(EVENT, now=NOW, nonce=NONCE))
        assert reported.message_id == "5000:104571"
        unit = sample.unit_ms
        assert reported.time_ms == (1_699_999_990_123 // unit * unit if unit else None)

    def test_unverified_is_reported_or_refused(self, sample: Sample) -> None:
        """What can't be said is refused, so that nobody reports a false success."""
        provider = sample.provider()
        if provider.unverified == "unsayable":
            with pytest.raises(ValueError, match="verified=false"):
                provider.request(event(verified=False), now=NOW, nonce=NONCE)
            return
        assert not sample.reported(provider.request(event(verified=False), now=NOW, nonce=NONCE)).verified
        assert sample.reported(provider.request(EVENT, now=NOW, nonce=NONCE)).verified

    @pytest.mark.parametrize("ahead", [-900, 0, 1, 5000, 86_400_000])
    def test_time_is_at_least_a_second_past(self, sample: Sample, ahead: int) -> None:
        """An event that claims the future, or this second, is reported as of a second ago."""
        future = event(occurred_at=int(NOW * 1000) + ahead)
        reported = sample.reported(sample.provider().request(future, now=NOW, nonce=NONCE))
        unit = sample.unit_ms
        assert reported.time_ms == ((int(NOW * 1000) - 1000) // unit * unit if unit else None)

    @pytest.mark.parametrize(
        ("sent_ago_ms", "told"), [(30_000, True), (11_200, True), (10_127, False), (0, False)]
    )
    def test_time_not_after_the_sending_is_left_out(
        self, sample: Sample, sent_ago_ms: int, told: bool
    ) -> None:
        """A time at or before the sending, as the provider would read it, is left to the provider if that may be."""
        sent = event(sent_at=int(NOW * 1000) - sent_ago_ms)
        reported = sample.reported(sample.provider().request(sent, now=NOW, nonce=NONCE))
        assert (reported.time_ms is not None) is ((told or sample.needs_time) and sample.unit_ms is not None)
        if reported.time_ms is not None:
            assert reported.time_ms <= NOW * 1000
            assert reported.time_ms > NOW * 1000 - sent_ago_ms or sent_ago_ms < 1000

    def test_each_attempt_is_signed_afresh(self, sample: Sample) -> None:
        """A second later the signature differs, and a new nonce alone changes it where there is one."""
        provider = sample.provider()
        first = provider.request(EVENT, now=NOW, nonce="a" * 32)
        assert provider.request(EVENT, now=NOW, nonce="a" * 32) == first
        later = provider.request(EVENT, now=NOW + 1, nonce="a" * 32)
        assert (sample.signature(later) != sample.signature(first)) is ("now" in sample.signs)
        other = provider.request(EVENT, now=NOW, nonce="b" * 32)
        signed_nonce = sample.has_nonce and bool(sample.signs)
        assert (sample.signature(other) != sample.signature(first)) is signed_nonce
        assert provider.has_nonce is sample.has_nonce

    def test_the_signature_covers_the_event(self, sample: Sample) -> None:
        """Another message id, time or host gives another signature, where the provider's way to sign covers it."""
        first = sample.signature(sample.provider().request(EVENT, now=NOW, nonce=NONCE))
        for part, request in (
            ("id", sample.provider().request(event(message_id="other"), now=NOW, nonce=NONCE)),
            (
                "occurred",
                sample.provider().request(event(occurred_at=1_699_999_980_000), now=NOW, nonce=NONCE),
            ),
            ("host", sample.provider("http://127.0.0.1:8080").request(EVENT, now=NOW, nonce=NONCE)),
        ):
            assert (sample.signature(request) != first) is (part in sample.signs), part

    def test_url_is_below_the_endpoint(self, sample: Sample) -> None:
        """Requests go to the API's path at the endpoint, whatever the spelling of a default port."""
        for given_endpoint, root in (
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("https://SMS.example:443/", "https://sms.example/"),
        ):
            request = sample.provider(given_endpoint).request(EVENT, now=NOW, nonce=NONCE)
            assert request.url.partition("?")[0] == root + sample.where(EVENT.message_id)
            assert request.method == sample.method

    def test_a_default_port_signs_as_none(self, sample: Sample) -> None:
        """Clients leave a default port out of `Host`, so the signature must do so too."""
        plain = sample.provider("https://sms.example").request(EVENT, now=NOW, nonce=NONCE)
        assert sample.provider("https://sms.example:443").request(EVENT, now=NOW, nonce=NONCE) == plain
        other = sample.provider("https://sms.example:444").request(EVENT, now=NOW, nonce=NONCE)
        assert (other.headers != plain.headers) is ("host" in sample.signs)

    def test_host_is_left_to_the_client(self, sample: Sample) -> None:
        """The HTTP client writes `Host` and the length; a second one would be an attack."""
        names = headers(sample.provider().request(EVENT, now=NOW, nonce=NONCE))
        assert not {"host", "content-length", "transfer-encoding", "connection"} & names.keys()

    def test_permanent_credentials_send_no_token(self, sample: Sample) -> None:
        """The token's header is there with temporary credentials and only then."""
        fields = {name: value for name, value in sample.options.items() if name != sample.token_option}
        permanent = replace(sample, options=fields).provider()
        names = headers(permanent.request(EVENT, now=NOW, nonce=NONCE))
        assert not [name for name in names if "token" in name]
        temporary = headers(sample.provider().request(EVENT, now=NOW, nonce=NONCE))
        assert [value for name, value in temporary.items() if "token" in name] == [
            token for token in (sample.token,) if token
        ]

    @given(message_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=256))
    def test_any_message_id_arrives_as_it_was(self, sample: Sample, message_id: str) -> None:
        """Message ids are opaque: the provider reads back exactly what was given."""
        if message_id in {".", ".."} and "{id}" in sample.path:
            return
        request = sample.provider().request(event(message_id=message_id), now=NOW, nonce=NONCE)
        assert sample.reported(request).message_id == message_id
        assert request.url.partition("?")[0].endswith(sample.where(message_id))
        assert request.url.isascii()
        assert request.url.isprintable()
        assert " " not in request.url
        assert all(value.isascii() and value.isprintable() for _, value in request.headers)

    @pytest.mark.parametrize("message_id", [".", ".."])
    def test_an_id_that_no_path_can_hold_is_refused(self, sample: Sample, message_id: str) -> None:
        """A client or a server would remove it, and report something else; outside a path it is an id like any."""
        what = event(message_id=message_id)
        if "{id}" not in sample.path:
            request = sample.provider().request(what, now=NOW, nonce=NONCE)
            assert sample.reported(request).message_id == message_id
            return
        with pytest.raises(UnreportableError, match="no URL"):
            sample.provider().request(what, now=NOW, nonce=NONCE)

    @given(
        now=st.floats(946_684_800, 32_503_680_000), occurred=st.integers(946_684_800_000, 32_503_680_000_000)
    )
    def test_the_future_is_never_reported(self, sample: Sample, now: float, occurred: int) -> None:
        """At any time, whatever the event claims, the reported time is whole units and at least 1 s past."""
        request = sample.provider().request(event(occurred_at=occurred), now=now, nonce=NONCE)
        time_ms = sample.reported(request).time_ms
        assert (time_ms is None) is (sample.unit_ms is None)
        if time_ms is not None:
            assert time_ms <= now * 1000 - 1000
            assert time_ms <= occurred
            assert time_ms % (sample.unit_ms or 1) == 0


class TestProbes:
    """A probe asks about the keys alone: there is nothing in it that a provider could record."""

    def test_it_names_no_message_and_no_outcome(self, sample: Sample) -> None:
        """None of what makes a report stands in it, neither in the query nor in the body."""
        request = sample.provider().probe(now=NOW, nonce=NONCE)
        said = (request.url + request.body.decode()).lower()
        for word in sample.fields:
            assert word.lower() not in said
        report = sample.provider().request(EVENT, now=NOW, nonce=NONCE)
        assert (*sample.fields, EVENT.message_id)[0] in unquote(report.url) + report.body.decode()
        assert quote(EVENT.message_id, safe="") not in said

    def test_it_goes_where_reports_go(self, sample: Sample) -> None:
        """The same place and the same headers, so that what it proves is true of reports."""
        probe = sample.provider().probe(now=NOW, nonce=NONCE)
        report = sample.provider().request(EVENT, now=NOW, nonce=NONCE)
        root = report.url.partition("?")[0].removesuffix(sample.where(EVENT.message_id))
        assert (probe.method, probe.url) == (
            report.method,
            root + sample.where(sample.probe_id) + sample.query,
        )
        digest = sha256(report.body).hexdigest()
        unlike = {
            name for name, value in headers(report).items() if value not in {headers(probe)[name], digest}
        }
        assert unlike == ({sample.signed_by} & headers(report).keys() if sample.signs else set())

    def test_what_an_answer_proves(self, sample: Sample) -> None:
        """A complaint about the report proves the keys, one about the keys refuses them, others prove nothing."""
        provider = sample.provider()
        for answer, standing in (
            (sample.gateway(sample.incomplete), Standing.ACCEPTED),
            *(
                (Answer(400, JSON, body), Standing.ACCEPTED)
                for body in sample.bodies(sample.permanent or sample.incomplete)
            ),
            (sample.gateway(sample.account), Standing.REFUSED),
            (sample.gateway(sample.denied), Standing.BARRED),
            (sample.gateway(sample.throttled), Standing.UNPROVED),
            (Answer(200, HTML, b"<html>"), Standing.UNPROVED),
            (Answer(503, JSON, b""), Standing.UNPROVED),
        ):
            assert weigh(provider.probed(answer), provider.key_faults).standing is standing, answer

    def test_every_key_fault_is_of_class_account(self, sample: Sample) -> None:
        """A code that blames the keys stops the account, too."""
        for beginning in sample.provider().key_faults:
            assert sample.provider().outcome(sample.gateway(beginning), EVENT).result is Result.ACCOUNT

    def test_the_credentials_are_the_key_id_and_every_secret(self, sample: Sample) -> None:
        """What may change while a worker runs: all that is secret, and the id that goes with it."""
        kind = REGISTRY[sample.name]
        options = kind.Options.model_validate(dict(sample.options))
        values = {name: getattr(options, name) for name in type(options).model_fields}
        secret = {name for name, value in values.items() if isinstance(value, SecretStr)}
        key_id = {name for name, value in values.items() if value == sample.provider().key_id}
        assert secret | key_id <= kind.credentials
        assert kind.credentials <= {
            name for one in SAMPLES.values() if one.name == sample.name for name in one.options
        }


class TestSecrets:
    """Keys and tokens show up nowhere but in the headers that need them."""

    def test_no_repr_shows_a_secret(self, sample: Sample) -> None:
        """Neither provider nor options nor request print a key, a token or a signature."""
        provider = sample.provider()
        request = provider.request(EVENT, now=NOW, nonce=NONCE)
        options = REGISTRY[sample.name].Options.model_validate(dict(sample.options))
        shown = "".join(
            form(thing) for thing in (provider, options, request, [request]) for form in (repr, str)
        )
        for secret in (*sample.secrets, sample.signature(request), EVENT.message_id):
            assert secret not in shown

    def test_the_request_itself_does_carry_them(self, sample: Sample) -> None:
        """The control: the same search finds the token and the signature in the headers."""
        request = sample.provider().request(EVENT, now=NOW, nonce=NONCE)
        assert (sample.token or "") in str(request.headers)
        assert len(sample.signature(request)) > 30

    def test_an_answer_that_quotes_a_secret_is_masked(self, sample: Sample) -> None:
        """A server that quotes the request back puts no secret into logs and dead letters."""
        for secret in sample.secrets:
            for quoted in (secret, quote(secret, safe="")):
                for padding in (0, 290):
                    message = "x" * padding + f"\nx-acs-security-token:{quoted}\nafter"
                    for body in sample.bodies(quoted, message):
                        outcome = sample.provider().outcome(Answer(400, JSON, body), EVENT)
                        assert secret[:12] not in repr(outcome)
                        assert "***" in outcome.code
                    outcome = sample.provider().outcome(sample.gateway(sample.account, message), EVENT)
                    assert secret[:12] not in repr(outcome)
        echoed = sample.provider().outcome(Answer(200, {"content-type": sample.secrets[0]}, b""), EVENT)
        assert sample.secrets[0] not in repr(echoed)

    def test_an_answer_that_quotes_the_key_id_shows_part_of_it(self, sample: Sample) -> None:
        """The provider's message tells one key from another, as `check` does."""
        provider = sample.provider()
        key_id = provider.key_id
        said = f"key {key_id}"
        for answer in (
            sample.gateway(sample.account, said),
            *(Answer(400, JSON, body) for body in sample.bodies("x", said)),
        ):
            for outcome in (provider.outcome(answer, EVENT), provider.probed(answer)):
                assert outcome.message == f"key {shortened(key_id)}"

    @pytest.mark.parametrize("bad", ["", "  ", "two words", "line\nbreak", "clé"])
    def test_an_unusable_credential_is_refused_without_showing_it(self, sample: Sample, bad: str) -> None:
        """A credential that can't stand in a header is refused, and the error shows no value at all."""
        kind = REGISTRY[sample.name]
        for field in sample.options:
            with pytest.raises(ValidationError) as refused:
                kind.Options.model_validate({**sample.options, field: bad})
            assert field in str(refused.value)
            assert not any(secret in str(refused.value) for secret in (*sample.secrets, "words", "clé"))

    def test_a_misspelt_option_is_refused_without_showing_it(self, sample: Sample) -> None:
        """An unknown name is a fault, and its value may be a secret."""
        with pytest.raises(ValidationError) as refused:
            REGISTRY[sample.name].Options.model_validate({**sample.options, "secret_kye": "verysecret"})
        assert "secret_kye" in str(refused.value)
        assert "verysecret" not in str(refused.value)

    def test_a_files_last_newline_does_no_harm(self, sample: Sample) -> None:
        """A credential read from a file means the same with its line end."""
        plain = sample.provider().request(EVENT, now=NOW, nonce=NONCE)
        lines = {name: f"{value}\n" for name, value in sample.options.items()}
        assert sample.provider(**lines).request(EVENT, now=NOW, nonce=NONCE) == plain


class TestRegistration:
    """A provider is what the registry says it is."""

    def test_the_registry_and_the_class_agree(self, sample: Sample) -> None:
        """Name, limit, endpoint and key id are there and make sense."""
        kind = REGISTRY[sample.name]
        provider = sample.provider()
        assert kind.name == sample.name
        assert kind.rate_limit > 0
        assert kind.endpoint.startswith("https://") or not kind.endpoint
        named = {*sample.options.values(), *map(fingerprint, sample.secrets)}
        assert {provider.owner_id, provider.key_id} <= named
        assert provider.key_id not in sample.secrets

    @pytest.mark.parametrize(
        "endpoint",
        [
            "sms.example",
            "ftp://sms.example",
            "https://",
            "https://u:hunter2@sms.example",
            "https://sms.example/path",
            "https://sms.example?x=1",
            "https://sms.example#f",
            "https://sms.example:99999",
            "https://sms.example:x",
            "https://[::1",
            "https://smš.example",
            "-",
        ],
    )
    def test_an_endpoint_is_a_base_url(self, sample: Sample, endpoint: str) -> None:
        """Anything else is refused, and the error shows no password that stood in it."""
        with pytest.raises(ValueError, match="an endpoint is") as refused:
            sample.provider(endpoint)
        assert "hunter2" not in str(refused.value)
