"""The simulator's own signatures against the published vectors."""

import json
from pathlib import Path
from typing import Any

import pytest

from simulator import alibaba, tencent

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "signature-vectors.json").read_text())

Vector = dict[str, Any]


def _by_name(vector: Vector) -> str:
    return str(vector["name"]).split()[0]


def _tencent_signature(vector: Vector, **changes: Any) -> str:
    values = vector | changes
    headers = {
        "content-type": values["content_type"],
        "host": values["host"],
        "x-tc-action": values["action"],
    }
    return tencent.signature(
        values["secret_key"],
        method=values["method"].encode(),
        query=values["query"].encode(),
        headers={name.encode(): value.encode() for name, value in headers.items()},
        signed=values["signed_headers"].encode(),
        body=values["body"].encode(),
        timestamp=values["timestamp"],
    )


def _alibaba_signature(vector: Vector, **changes: Any) -> str:
    values = vector | changes
    headers = {name.encode(): value.encode() for name, value in values["signed_headers"].items()}
    signature, _ = alibaba.signature(
        values["sk"],
        method=values["method"].encode(),
        query=alibaba.canonical_query(values["query"]),
        headers=headers,
        signed=list(headers),
        body=values["body"].encode(),
    )
    return signature


@pytest.mark.parametrize("vector", VECTORS["tencent_tc3"], ids=_by_name)
def test_tencent_vectors_are_reproduced(vector: Vector) -> None:
    """Each TC3 vector gives its documented signature."""
    assert vector["expected_authorization"].endswith(f"Signature={_tencent_signature(vector)}")


@pytest.mark.parametrize(
    "change",
    [{"body": "{}"}, {"host": "other"}, {"timestamp": 1700000001}, {"secret_key": "x"}, {"method": "GET"}],
    ids=lambda change: next(iter(change)),
)
def test_tencent_signature_covers_everything(change: Vector) -> None:
    """Another body, host, time, key or method gives another signature."""
    vector = VECTORS["tencent_tc3"][0]
    assert _tencent_signature(vector, **change) != _tencent_signature(vector)


@pytest.mark.parametrize("vector", VECTORS["alibaba_acs3"], ids=_by_name)
def test_alibaba_vectors_are_reproduced(vector: Vector) -> None:
    """Each ACS3 vector gives its documented signature."""
    assert _alibaba_signature(vector) == vector["expected_signature"]


@pytest.mark.parametrize(
    "change",
    [
        {"body": "x"},
        {"query": {"MessageId": "2", "Delivered": "true"}},
        {"signed_headers": {"host": "other"}},
        {"sk": "x"},
        {"method": "GET"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_alibaba_signature_covers_everything(change: Vector) -> None:
    """Another body, query, header, key or method gives another signature."""
    vector = VECTORS["alibaba_acs3"][0]
    assert _alibaba_signature(vector, **change) != _alibaba_signature(vector)
