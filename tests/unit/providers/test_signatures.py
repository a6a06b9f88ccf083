"""Both signatures against published vectors, the documents' own examples and the official SDKs' functions."""

import hashlib
import importlib
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import REGISTRY, SignedRequest, volcengine, vonage
from providers.acs3 import ACS3, EMPTY_BODY, acs_date, canonical_query
from providers.hmac_key import HmacKey
from providers.sigv4 import SigV4, signing_date
from providers.tc3 import TC3
from tests.support.provider_samples import KEY, NONCE, NOW, SAMPLES, TOKEN, VECTORS, event

OURS = [vector for vector in VECTORS["requests"] if vector["provider"] in REGISTRY]
MOMENTS = st.integers(946_684_800, 32_503_680_000)


@pytest.mark.parametrize("vector", VECTORS["tencent_tc3"], ids=lambda vector: vector["name"])
def test_tc3_vector(vector: dict[str, Any]) -> None:
    """Every published vector comes out to the letter."""
    values = {
        "content-type": vector["content_type"],
        "host": vector["host"],
        "x-tc-action": vector["action"],
    }
    authorization = TC3(vector["secret_id"], vector["secret_key"], "sms").authorization(
        vector["timestamp"],
        ((name, values[name]) for name in vector["signed_headers"].split(";")),
        vector["body"].encode(),
        method=vector["method"],
        query=vector["query"],
    )
    assert authorization == vector["expected_authorization"]


@pytest.mark.parametrize("vector", VECTORS["alibaba_acs3"], ids=lambda vector: vector["name"])
def test_acs3_vector(vector: dict[str, Any]) -> None:
    """Every published vector comes out to the letter."""
    signed = sorted(vector["signed_headers"].items())
    authorization = ACS3(vector["ak"], vector["sk"]).authorization(
        canonical_query(vector["query"]),
        signed,
        payload=hashlib.sha256(vector["body"].encode()).hexdigest(),
        method=vector["method"],
    )
    names = ";".join(name for name, _ in signed)
    assert authorization == (
        f"ACS3-HMAC-SHA256 Credential={vector['ak']},SignedHeaders={names},"
        f"Signature={vector['expected_signature']}"
    )


@pytest.mark.parametrize("vector", VECTORS["aws_sigv4"], ids=lambda vector: vector["name"])
def test_sigv4_vector(vector: dict[str, Any]) -> None:
    """Every signature of botocore comes out to the letter."""
    values = {
        "content-type": vector["content_type"],
        "host": vector["host"],
        "x-amz-date": vector["amz_date"],
        "x-amz-security-token": vector["session_token"],
        "x-amz-target": vector["target"],
    }
    signer = SigV4(vector["access_key_id"], vector["secret_access_key"], vector["region"], "sms-voice")
    signed = tuple((name, values[name]) for name in vector["signed_headers"].split(";"))
    payload = hashlib.sha256(vector["body"].encode()).hexdigest()
    assert signing_date(vector["timestamp"]) == vector["amz_date"]
    assert signer.authorization(vector["amz_date"], signed, payload) == vector["expected_authorization"]


@pytest.mark.parametrize("vector", VECTORS["volc_v4"], ids=lambda vector: vector["name"])
def test_volcengine_vector(vector: dict[str, Any]) -> None:
    """Every signature of the SDKs of Volcengine and BytePlus comes out to the letter, with many ids too."""
    values = {
        "content-type": vector["content_type"],
        "host": vector["host"],
        "x-content-sha256": vector["x_content_sha256"],
        "x-date": vector["x_date"],
        "x-security-token": vector["x_security_token"],
    }
    keys = vector["access_key_id"], vector["secret_access_key"]
    signer = SigV4(*keys, vector["region"], vector["service"], volcengine.SCHEME)
    signed = tuple((name, values[name]) for name in vector["signed_headers"].split(";"))
    payload = hashlib.sha256(vector["body"].encode()).hexdigest()
    authorization = signer.authorization(vector["x_date"], signed, payload, query=vector["query"])
    assert (payload, authorization) == (vector["x_content_sha256"], vector["expected_authorization"])


@pytest.mark.parametrize("vector", VECTORS["vonage_signature"], ids=lambda vector: vector["name"])
def test_vonage_vector(vector: dict[str, Any]) -> None:
    """Every signature of the official SDK comes out to the letter, whatever the hash."""
    parameters = {**vector["params"], "api_key": vector["api_key"]}
    key = HmacKey(vector["signature_secret"].encode(), vector["signature_method"])
    assert vonage.signature(parameters, key) == vector["expected_sig"]


@pytest.mark.parametrize("vector", VECTORS["telesign_tsa"], ids=lambda vector: vector["name"])
def test_telesign_vector(vector: dict[str, Any]) -> None:
    """Every request of the official SDK comes out to the letter, signed or with the key itself."""
    names = vector["headers"]
    options = {name: vector[name] for name in ("customer_id", "api_key")}
    provider = SAMPLES["telesign"].provider(**options, auth_method=names["x-ts-auth-method"])
    what = event(message_id=vector["reference_id"])
    request = provider.request(what, now=vector["timestamp"], nonce=vector["nonce"])
    assert dict(request.headers) == names | {"authorization": vector["expected_authorization"]}
    assert (request.method, request.url, request.body) == (vector["method"], vector["url"], b"")


@pytest.mark.parametrize("vector", OURS, ids=lambda vector: vector["name"])
def test_request_vector(vector: dict[str, Any]) -> None:
    """Every whole request of the facts comes out byte by byte, but for the spelling of JSON that is not signed."""
    kind = REGISTRY[vector["provider"]]
    options = kind.Options.model_validate(vector["options"])
    said = {name.removesuffix("_ms"): value for name, value in vector["event"].items() if value is not None}
    endpoint = vector["endpoint"] or kind.endpoint.format_map(dict(options))
    nonce = vector["nonce"] or NONCE
    request = kind(endpoint, options).request(event(**said), now=vector["now"], nonce=nonce)
    assert (request.method, request.url) == (vector["method"], vector["url"])
    assert {name.lower(): value for name, value in request.headers} == vector["headers"]
    if vector["body"].startswith("{"):
        assert json.loads(request.body) == json.loads(vector["body"])
    else:
        assert request.body.decode() == vector["body"]


def test_tc3_document_example() -> None:
    """Tencent's own example, of another service, comes out as printed."""
    body = b'{"Limit": 1, "Filters": [{"Values": ["\\u672a\\u547d\\u540d"], "Name": "instance-name"}]}'
    signer = TC3("AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******", "Gu5t9xGARNpq86cd98joQYCN3*******", "cvm")
    names = (("content-type", "application/json; charset=utf-8"), ("host", "cvm.tencentcloudapi.com"))
    assert signer.authorization(1551113065, names, body) == (
        "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c"
    )


def test_acs3_document_example() -> None:
    """Alibaba's own example, of another service, comes out as printed."""
    image = "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd"
    authorization = ACS3("YourAccessKeyId", "YourAccessKeySecret").authorization(
        canonical_query({"RegionId": "cn-shanghai", "ImageId": image}),
        (
            ("host", "ecs.cn-shanghai.aliyuncs.com"),
            ("x-acs-action", "RunInstances"),
            ("x-acs-content-sha256", EMPTY_BODY),
            ("x-acs-date", "2023-10-26T10:22:32Z"),
            ("x-acs-signature-nonce", "3156853299f313e23d1673dc12e1703d"),
            ("x-acs-version", "2014-05-26"),
        ),
    )
    assert authorization.endswith(
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


@given(moments=st.lists(MOMENTS, min_size=2, max_size=6))
def test_the_kept_key_is_always_the_days(moments: list[int]) -> None:
    """A signer that was used on other days signs as a fresh one does."""
    used, aws = TC3("id", "key", "sms"), SigV4("id", "key", "eu-west-1", "sms-voice")
    for moment in moments:
        assert used.authorization(moment, (), b"") == TC3("id", "key", "sms").authorization(moment, (), b"")
        date, fresh = signing_date(moment), SigV4("id", "key", "eu-west-1", "sms-voice")
        assert aws.authorization(date, (), "") == fresh.authorization(date, (), "")


def test_midnight_changes_the_scope() -> None:
    """The date is that of the signed timestamp in UTC, not of any clock."""
    signer = TC3("id", "key", "sms")
    scopes = [signer.authorization(1_700_006_399 + second, (), b"").split("/")[1] for second in (0, 1, 0)]
    assert scopes == ["2023-11-14", "2023-11-15", "2023-11-14"]


@given(
    parameters=st.dictionaries(
        st.text(st.characters(codec="utf-8"), min_size=1),
        st.text(st.characters(codec="utf-8"), min_size=1),
        min_size=1,
    )
)
def test_query_encoding_is_rfc_3986(parameters: dict[str, str]) -> None:
    """What was encoded reads back, sorted by name, with nothing but unreserved characters and escapes."""
    query = canonical_query(parameters)
    assert parse_qsl(query, strict_parsing=True) == sorted(parameters.items())
    assert [unquote(part.split("=")[0]) for part in query.split("&")] == sorted(parameters)
    assert all(c in "-_.~%=&" or (c.isascii() and c.isalnum()) for c in query)


def test_query_encoding_spares_the_unreserved() -> None:
    """Space, star, plus and slash are escaped, tilde is not."""
    assert canonical_query({"b": "a *~+/-_.^%", "a": "ü"}) == "a=%C3%BC&b=a%20%2A~%2B%2F-_.%5E%25"


def test_acs_date_is_utc() -> None:
    """The date is written as the page shows it."""
    assert acs_date(1_700_000_000) == "2023-11-14T22:13:20Z"


def requests(name: str) -> list[SignedRequest]:
    """Build some requests of a provider, with temporary credentials, at one and at another host."""
    return [
        SAMPLES[name].provider(endpoint).request(what, now=NOW, nonce=NONCE)
        for endpoint in (None, "http://127.0.0.1:8080", "https://SMS.example:443")
        for what in (event(), event(message_id="9006 *~+/^0é"), event(sent_at=int(NOW * 1000)))
    ]


@pytest.mark.parametrize("name", ["alibaba", "alibaba_cn"])
def test_the_official_acs3_function_agrees(name: str) -> None:
    """Alibaba's own signing code gives the signature that our request carries."""
    sdk = importlib.import_module("alibabacloud_tea_openapi.utils").Utils
    for request in requests(name):
        parts = urlsplit(request.url)
        names = dict(request.headers)
        authorization = names.pop("authorization")
        assert names.pop("accept")
        signed = SimpleNamespace(
            method="POST",
            pathname=parts.path,
            query=dict(parse_qsl(parts.query, strict_parsing=True)),
            headers={**names, "host": parts.netloc},
        )
        key_id = SAMPLES[name].options["access_key_id"]
        assert names["x-acs-security-token"] == TOKEN
        official = sdk.get_authorization(signed, "ACS3-HMAC-SHA256", EMPTY_BODY, key_id, KEY)
        assert official == authorization


def test_the_official_tc3_function_agrees() -> None:
    """Tencent's own signing code gives the signature that our request carries."""
    sdk = importlib.import_module("tencentcloud.common.abstract_client").AbstractClient
    for request in requests("tencent"):
        names = dict(request.headers)
        names["Host"] = urlsplit(request.url).netloc
        signed = SimpleNamespace(method="POST", uri="/", data=request.body, header=names)
        # The method uses nothing of its object, so none of the SDK's sessions has to be made.
        official = sdk._get_tc3_signature(None, {}, signed, "2023-11-14", "sms", KEY)
        assert names["Authorization"].partition("Signature=")[2] == official
