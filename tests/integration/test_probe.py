"""`check --probe`: whether the keys work, asked of the simulator, which takes no report for it."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from config.account import Account
from config.settings import load
from providers.proof import Standing
from tasks.wall import WallClock
from tests.support.command import SECRET, Ran, call
from tests.support.raw_server import RawServer, answering
from tests.support.simulator import SimulatorProcess
from worker.embedded import EmbeddedValkey, free_port
from worker.fleet.probes import Prober, probe_all
from worker.http.client import http_client

TENCENT_ID, ALIBABA_ID = "AKIDEXAMPLEEXAMPLE0001", "LTAI5tEXAMPLEEXAMPLE0001"
DENIED = "AKIDEXAMPLEEXAMPLE0009"
TEMPORARY = "AKIDEXAMPLEEXAMPLE0008"
TOKEN = "EXAMPLE-session-token"
CN_ID = "LTAI5tEXAMPLEEXAMPLE0002"
KEYS = [
    {"provider": "tencent", "id": TENCENT_ID, "secret": SECRET, "apps": ["1400000001"]},
    {"provider": "tencent", "id": DENIED, "secret": SECRET, "apps": ["1400000001"], "denied": True},
    {"provider": "tencent", "id": TEMPORARY, "secret": SECRET, "apps": ["1400000001"], "token": TOKEN},
    {"provider": "alibaba", "id": ALIBABA_ID, "secret": SECRET},
    {"provider": "alibaba", "id": DENIED, "secret": SECRET, "denied": True},
    {"provider": "alibaba_cn", "id": CN_ID, "secret": SECRET},
]
TENCENT, ALIBABA = "OTPREPORT_ACCOUNTS__TENCENT__", "OTPREPORT_ACCOUNTS__ALIBABA__"


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """Start providers that know some keys."""
    with SimulatorProcess({"keys": KEYS}) as process:
        yield process


@pytest.fixture(scope="module")
def fit_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    """Start a Redis that `check` finds nothing wrong with."""
    with EmbeddedValkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_was_reported(simulator: SimulatorProcess) -> Iterator[None]:
    """Whatever a probe finds, the provider took no report."""
    simulator.set_plan({})
    simulator.reset()
    yield
    assert simulator.summary()["taken"] == 0
    assert not any(row["message_id"] for row in simulator.ledger())


def check(valkey: EmbeddedValkey, simulator: SimulatorProcess, *arguments: str, **env: str) -> Ran:
    """Run `check --probe` for two accounts at the simulator."""
    at = {f"{TENCENT}ENDPOINT": simulator.url, f"{ALIBABA}ENDPOINT": simulator.url}
    return call(valkey.url, "check", "--probe", *arguments, env=at | env)


def probes(ran: Ran) -> dict[str, Any]:
    """Return each account's probe from the JSON."""
    return {row["account"]: row for row in ran.json["probes"]}


def test_right_keys(fit_valkey: EmbeddedValkey, simulator: SimulatorProcess) -> None:
    """Accepted keys: status 0, and the provider saw each probe and its control, signed with another secret."""
    ran = check(fit_valkey, simulator)
    assert (ran.status, ran.err) == (0, "")
    assert "tencent: the provider accepts its keys" in ran.out
    assert [
        (row["code"], row["signature_ok"]) for row in simulator.ledger() if row["provider"] == "tencent"
    ] == [
        ("MissingParameter", True),
        ("AuthFailure.SignatureFailure", False),
    ]
    as_json = check(fit_valkey, simulator, "--json")
    assert {name: row["keys"] for name, row in probes(as_json).items()} == {
        "tencent": "accepted",
        "alibaba": "accepted",
    }
    assert as_json.json["ok"] is True


def test_without_the_option_nobody_is_asked(fit_valkey: EmbeddedValkey, simulator: SimulatorProcess) -> None:
    """Plain `check` sends no provider anything."""
    ran = call(fit_valkey.url, "check", "--json", env={f"{TENCENT}ENDPOINT": simulator.url})
    assert "probes" not in ran.json
    assert simulator.summary()["arrivals"] == 0


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("SECRET_KEY", "another-secret", "AuthFailure.SignatureFailure"),
        ("SECRET_ID", "AKIDUNKNOWN", "AuthFailure.SecretIdNotFound"),
        ("SECURITY_TOKEN", "no-token-of-this-key", "AuthFailure.TokenFailure"),
    ],
)
def test_wrong_keys(
    fit_valkey: EmbeddedValkey, simulator: SimulatorProcess, setting: str, value: str, code: str
) -> None:
    """A wrong secret, id or token is told with the provider's code, status 1; the other account is all right."""
    ran = check(fit_valkey, simulator, "--json", **{TENCENT + setting: value})
    found = probes(ran)
    assert (ran.status, ran.json["ok"]) == (1, False)
    assert (found["tencent"]["keys"], found["tencent"]["code"]) == ("refused", code)
    assert found["alibaba"]["keys"] == "accepted"


@pytest.mark.parametrize(
    ("setting", "value", "code"),
    [
        ("ACCESS_KEY_SECRET", "another-secret", "SignatureDoesNotMatch"),
        ("ACCESS_KEY_ID", "LTAIUNKNOWN", "InvalidAccessKeyId.NotFound"),
        ("SECURITY_TOKEN", "no-token", "InvalidSecurityToken.MismatchWithAccessKey"),
    ],
)
def test_wrong_keys_of_alibaba(
    fit_valkey: EmbeddedValkey, simulator: SimulatorProcess, setting: str, value: str, code: str
) -> None:
    """The same for Alibaba Cloud; the line on the terminal says what to do."""
    ran = check(fit_valkey, simulator, **{ALIBABA + setting: value})
    assert ran.status == 1
    assert f"alibaba: the provider refuses its keys: {code}" in ran.out
    assert "-> correct them in its settings" in ran.out


def test_the_china_site_and_temporary_keys(fit_valkey: EmbeddedValkey, simulator: SimulatorProcess) -> None:
    """The third provider and keys with a session token are probed alike."""
    cn = "OTPREPORT_ACCOUNTS__CN__"
    more = {
        f"{cn}PROVIDER": "alibaba_cn",
        f"{cn}ENDPOINT": simulator.url,
        f"{cn}ACCESS_KEY_ID": CN_ID,
        f"{cn}ACCESS_KEY_SECRET": SECRET,
        f"{TENCENT}SECRET_ID": TEMPORARY,
        f"{TENCENT}SECURITY_TOKEN": TOKEN,
    }
    ran = check(fit_valkey, simulator, "--json", **more)
    assert {row["keys"] for row in ran.json["probes"]} == {"accepted"}
    assert TOKEN not in ran.out


def test_a_missing_permission(fit_valkey: EmbeddedValkey, simulator: SimulatorProcess) -> None:
    """Right keys of a user who may not report are told from wrong ones."""
    ran = check(
        fit_valkey,
        simulator,
        "--json",
        **{f"{TENCENT}SECRET_ID": DENIED, f"{ALIBABA}ACCESS_KEY_ID": DENIED},
    )
    assert ran.status == 1
    assert {name: (row["keys"], row["code"]) for name, row in probes(ran).items()} == {
        "tencent": ("barred", "AuthFailure.UnauthorizedOperation"),
        "alibaba": ("barred", "Forbidden.RAM"),
    }


def test_an_endpoint_that_nobody_listens_at(fit_valkey: EmbeddedValkey, simulator: SimulatorProcess) -> None:
    """Nothing is proved, status 1; neither is it of a provider that throttles or answers rubbish."""
    ran = check(fit_valkey, simulator, **{f"{TENCENT}ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    assert ran.status == 1
    assert "tencent: inconclusive: ConnectError" in ran.out
    assert "alibaba: the provider accepts its keys" in ran.out
    simulator.set_plan({"faults": [{"kind": "html"}]})
    ran = check(fit_valkey, simulator, "--json")
    assert {row["keys"] for row in ran.json["probes"]} == {"unproved"}


def test_keys_are_probed_without_redis(simulator: SimulatorProcess) -> None:
    """Whether Redis answers has nothing to do with the keys: both are told."""
    at = {f"{TENCENT}ENDPOINT": simulator.url, f"{ALIBABA}ENDPOINT": simulator.url}
    ran = call(f"redis://127.0.0.1:{free_port()}/0", "check", "--probe", "--json", env=at)
    assert ran.status == 1
    assert {row["keys"] for row in ran.json["probes"]} == {"accepted"}


def test_a_wrong_clock_is_corrected_first(fit_valkey: EmbeddedValkey, simulator: SimulatorProcess) -> None:
    """A clock that is an hour off makes no right key wrong: the worker would correct it, too."""
    simulator.set_plan({"clock_offset_s": 3600})
    ran = check(fit_valkey, simulator, "--json")
    assert {row["keys"] for row in ran.json["probes"]} == {"accepted"}


def settings_for(url: str) -> Mapping[str, str]:
    """Return the settings of one account there."""
    own = {"PROVIDER": "tencent", "ENDPOINT": url.rstrip("/"), "SECRET_ID": TENCENT_ID, "SECRET_KEY": SECRET}
    own["SDK_APP_ID"] = "1400000001"
    return {"OTPREPORT_REDIS_URL": "redis://x"} | {f"{TENCENT}{name}": value for name, value in own.items()}


def account_at(url: str) -> Account:
    """Return the account there."""
    return load(settings_for(url)).accounts["tencent"]


BODY = json.dumps({"Response": {"Error": {"Code": "MissingParameter"}, "RequestId": "r"}}).encode()
MISSING = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


async def test_a_provider_that_looks_at_no_signature_proves_nothing() -> None:
    """The control: where other secrets get the same answer, the answer is no proof."""
    http = http_client("builtin", connections=1, connect_timeout=5.0, read_timeout=5.0)
    async with RawServer(answering(MISSING)) as server:
        probed = await Prober(http, WallClock()).probe(account_at(server.url))
        await http.close()
    assert probed.standing is Standing.UNPROVED
    assert "with wrong secrets got the same answer" in probed.finding.text
    first, second = server.requests
    assert first != second


async def test_a_control_without_an_answer_is_told_as_such() -> None:
    """The network failed between the probe and its control: nothing is said of the provider."""

    async def once(writer: asyncio.StreamWriter) -> None:
        if len(server.requests) == 1:
            writer.write(MISSING)
        else:
            writer.close()

    http = http_client("builtin", connections=1, connect_timeout=5.0, read_timeout=5.0)
    async with RawServer(once) as server:
        probed = await Prober(http, WallClock()).probe(account_at(server.url))
        await http.close()
    assert probed.standing is Standing.UNPROVED
    assert probed.control is not None
    assert "the control request with wrong secrets got no usable answer" in probed.finding.text
    assert probed.control.outcome.message in probed.finding.text
    assert "MissingParameter" not in probed.finding.text
    assert "network" in probed.finding.fix


def test_probing_leaves_no_secret(simulator: SimulatorProcess) -> None:
    """Neither the result nor what is sent holds the secret itself."""
    [probed] = probe_all(load(settings_for(simulator.url)))
    assert probed.standing is Standing.ACCEPTED
    assert SECRET not in repr(probed)
