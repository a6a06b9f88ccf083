"""The simulator as a program and as a part of a test."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from simulator import Simulator, parse
from tests.support.calls import KEYS, WireAnswer, send, tencent_call
from tests.support.simulator import ROOT, SimulatorProcess
from tests.support.wait import until


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the process with status 0, also with a call hanging in it."""
    plan = {"faults": [{"kind": "hang"}]}
    process = SimulatorProcess({"keys": KEYS, "plan": plan})
    process.start()
    parts = urlsplit(process.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        connection.sendall(tencent_call().encode())
        until(lambda: process.summary()["arrivals"] == 1)
        process.send_signal(number)
        until(lambda: not process.is_running())
    assert process.stop() == 0
    assert process.log == ""


def test_without_settings_it_knows_the_example_keys() -> None:
    """Started with nothing it takes calls of the made-up keys that ship with it."""
    example = {
        "id": "AKIDEXAMPLEEXAMPLEEXAMPLEEXAMPLE0001",
        "secret": "EXAMPLEsecretKEYexampleSECRETkey1",
    }
    with SimulatorProcess() as process:
        call = tencent_call("m", key=example | {"provider": "tencent"})
        assert send(process.url, call).code == "ok"


def test_wrong_settings_are_one_line_each(tmp_path: Path) -> None:
    """Wrong settings end it with status 2, a line for each fault, and no traceback."""
    path = tmp_path / "simulator.toml"
    path.write_text('[[keys]]\nprovider = "tencnt"\nid = "x"\nsecret = "hidden"\n[plan]\nseed = "x"\n')
    result = _run("--config", str(path))
    lines = result.stderr.splitlines()
    assert (result.returncode, result.stdout, len(lines)) == (2, "", 2)
    assert lines[0].startswith(f"{path}: keys[0].provider is wrong")
    assert lines[1] == f"{path}: plan.seed is wrong: input should be a valid integer"
    assert "hidden" not in result.stderr


def test_a_port_that_is_taken_is_one_line() -> None:
    """A port in use ends it with status 2 and one line."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = _run("--port", str(port))
    assert result.returncode == 2
    assert result.stderr.splitlines() == [f"cannot listen on 127.0.0.1:{port}: Address already in use"]


@pytest.mark.parametrize("port", ["-5", "65536", "99999", "x"])
def test_a_port_that_is_none_is_wrong_use(port: str) -> None:
    """Status 2 and argparse's words, no traceback."""
    result = _run("--port", port)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("python -m simulator: error: argument --port: ")
    assert "Traceback" not in result.stderr


def test_a_host_that_is_none_is_one_line() -> None:
    """A name that can't be asked for ends it with status 2."""
    result = _run("--host", "é..x")
    assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
    assert result.stderr.startswith("cannot listen on é..x:0: ")


def test_help_is_there() -> None:
    """--help explains, with status 0."""
    result = _run("--help")
    assert result.returncode == 0
    assert "--config" in result.stdout


async def test_it_runs_inside_a_test() -> None:
    """`async with Simulator(settings).serve()` listens in the test's own loop and is gone afterwards."""
    async with Simulator(parse({"keys": KEYS})).serve() as server:
        answers = await asyncio.gather(
            *(asyncio.to_thread(send, server.url, tencent_call(f"m-{n}")) for n in range(3))
        )
        assert [answer.code for answer in answers] == ["ok"] * 3
        assert len(server.cloud.ledger) == 3
    with pytest.raises(ConnectionRefusedError):
        await asyncio.to_thread(send, server.url, tencent_call("m"))


def _self_signed(folder: Path) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "simulator")])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return {"certificate": str(folder / "cert.pem"), "private_key": str(folder / "key.pem")}


async def test_it_speaks_tls(tmp_path: Path) -> None:
    """With a certificate it answers over TLS to those who trust it, and to nobody else."""
    tls = _self_signed(tmp_path)
    async with Simulator(parse({"keys": KEYS, "tls": tls})).serve() as server:
        port = urlsplit(server.url).port
        trusting = ssl.create_default_context(cafile=tls["certificate"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        writer.write(tencent_call().with_header("Connection", "close").encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        assert server.url.startswith("https://")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert WireAnswer(200, {}, body).code == "ok"
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())


@pytest.mark.parametrize(
    ("content", "said"), [("nothing", "[SSL] PEM lib"), (None, "No such file or directory")]
)
def test_a_wrong_certificate_is_one_line(tmp_path: Path, content: str | None, said: str) -> None:
    """A certificate that is none, or is not there, ends it with status 2 and one line."""
    if content is not None:
        (tmp_path / "cert.pem").write_text(content)
    path = tmp_path / "simulator.toml"
    path.write_text(
        '[[keys]]\nprovider = "alibaba"\nid = "x"\nsecret = "y"\n'
        f'[tls]\ncertificate = "{tmp_path}/cert.pem"\nprivate_key = "{tmp_path}/cert.pem"\n'
    )
    result = _run("--config", str(path))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"tls: the certificate or its key cannot be used: {said}")
