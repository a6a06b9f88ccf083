"""What each provider builds arrives byte for byte: what was signed, and no more."""

import pytest

from config.settings import HttpEngine
from tests.support.http_clients import Clients
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
