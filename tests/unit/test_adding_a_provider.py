"""The code that docs/adding-a-provider.md shows works with the interfaces as they are."""

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

import pytest

from providers import Answer, Result
from providers.masking import shortened
from providers.proof import Standing, weigh
from simulator.request import RefusedError, Request
from simulator.settings import Key
from tests.support.provider_samples import NONCE, NOW, event
from worker.reference.pages import DOCS

PAGE = (DOCS / "adding-a-provider.md").read_text(encoding="utf-8")
SECRET = "EXAMPLEsecretKEYexampleSECRETkey9"


@pytest.fixture(scope="module")
def shown() -> Iterator[tuple[Any, Any]]:
    """Yield a provider and the simulator's dialect for it, from the two whole files that the page shows."""
    files = [
        block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if block.startswith('"""')
    ]
    provider, dialect = (loaded(f"acme_{number}", source) for number, source in enumerate(files))
    key = Key(provider="acme", id="ACMEEXAMPLE0001", secret=SECRET)
    kind = provider.Acme
    options = kind.Options(key_id="ACMEEXAMPLE0001", key_secret=SECRET)
    yield kind(kind.endpoint, options), dialect.Acme([key])
    del sys.modules["acme_0"], sys.modules["acme_1"]


def loaded(name: str, source: str) -> Any:
    """Return a module made from its source."""
    module = ModuleType(name)
    sys.modules[name] = module
    exec(compile(source, name, "exec"), module.__dict__)
    return cast("Any", module)


def arrived(signed: Any) -> Request:
    """Return a request as the simulator reads it."""
    place = signed.url.partition("://")[2]
    host, _, target = place.partition("/")
    headers = {name.lower().encode(): value.encode() for name, value in signed.headers}
    return Request(
        method=signed.method.encode(),
        target=f"/{target}".encode(),
        headers={**headers, b"host": host.encode()},
        body=signed.body,
    )


@pytest.mark.parametrize("verified", [True, False])
def test_its_report_is_taken(shown: tuple[Any, Any], *, verified: bool) -> None:
    """The dialect understands what the provider signs, and the provider the dialect's answer."""
    provider, dialect = shown
    request = arrived(provider.request(event(verified=verified), now=NOW, nonce=NONCE))
    assert dialect.claims(request)
    call = dialect.read(request)
    dialect.authenticate(call, NOW)
    dialect.validate(call, NOW)
    assert (call.message_id, call.verified) == ("5000:104571", verified)
    answer = Answer(200, {}, dialect.success(call, b"1").body)
    assert provider.outcome(answer, event()).result is Result.DELIVERED


def test_a_changed_report_is_refused(shown: tuple[Any, Any]) -> None:
    """The control: with another body the signature is wrong, which stops the account."""
    provider, dialect = shown
    signed = provider.request(event(), now=NOW, nonce=NONCE)
    request = arrived(signed)
    call = dialect.read(Request(request.method, request.target, request.headers, request.body + b" "))
    with pytest.raises(RefusedError) as refused:
        dialect.authenticate(call, NOW)
    reply = dialect.error(call, refused.value.code, refused.value.message, b"1")
    assert provider.outcome(Answer(reply.status, {}, reply.body), event()).result is Result.ACCOUNT


def test_its_probe_proves_the_key(shown: tuple[Any, Any]) -> None:
    """The probe passes as far as the missing fields: the key is right, and nothing is recorded."""
    provider, dialect = shown
    call = dialect.read(arrived(provider.probe(now=NOW, nonce=NONCE)))
    dialect.authenticate(call, NOW)
    with pytest.raises(RefusedError) as refused:
        dialect.validate(call, NOW)
    reply = dialect.error(call, refused.value.code, "", b"1")
    assert (
        weigh(provider.probed(Answer(400, {}, reply.body)), provider.key_faults).standing is Standing.ACCEPTED
    )


def test_it_shortens_a_key_id_that_is_quoted(shown: tuple[Any, Any]) -> None:
    """What the suite for every provider asks for holds for the provider of the page, too."""
    provider, dialect = shown
    call = dialect.read(arrived(provider.probe(now=NOW, nonce=NONCE)))
    reply = dialect.error(call, "key_unknown", f"key {provider.key_id}", b"1")
    outcome = provider.probed(Answer(reply.status, {}, reply.body))
    assert outcome.message == f"key {shortened(provider.key_id)}"
