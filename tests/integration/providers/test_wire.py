"""What each provider builds arrives byte for byte: what was signed, and no more."""

from pathlib import Path

import pytest

from config.route import Route
from config.settings import HttpEngine
from tests.support.http_clients import Clients, server_context
from tests.support.provider_samples import NONCE, NOW, SAMPLES, Sample, event
from tests.support.raw_server import OK, RawServer, answering, parsed

IDS = ("5000:104571", "a b/c?d#e%2F&f=g~+é漢", "%2E%2E", '"\\\r\n\0', "x" * 256)


@pytest.mark.parametrize("engine", ["builtin", "httpx"])
@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.label)
async def test_a_report_arrives_as_it_was_built(sample: Sample, engine: HttpEngine) -> None:
    """Method, target, each header once, and body; `Host` is what was signed."""
    async with RawServer(answering(OK)) as server, Clients(engine)() as sender:
        provider = sample.provider(server.url)
        for name in IDS:
            request = provider.request(event(message_id=name), now=NOW, nonce=NONCE)
            await sender.send(request)
            line, headers, body = parsed(server.requests[-1])
            assert line == f"{request.method} {request.target()[1]} HTTP/1.1"
            assert body == request.body
            assert headers["host"] == request.target()[0].removeprefix("http://")
            for header, value in request.headers:
                assert headers[header.lower()] == value


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.label)
async def test_an_endpoint_with_an_ipv6_address(sample: Sample, tmp_path: Path) -> None:
    """It stands in brackets in the `Host` that was signed, and its certificate is checked for the address."""
    tls = server_context(tmp_path)
    async with RawServer(answering(OK), tls=tls, host="::1") as server, Clients()() as sender:
        provider = sample.provider(server.url)
        http = sender.by(Route(ca_bundle=str(tmp_path / "authority.pem"), source_address="::1"))
        await http.send(provider.request(event(), now=NOW, nonce=NONCE))
        _, headers, _ = parsed(server.requests[-1])
        assert headers["host"] == server.url.removeprefix("https://").rstrip("/")
        assert headers["host"].startswith("[::1]:")
