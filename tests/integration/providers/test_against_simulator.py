"""Each provider's requests over a real connection, judged by the simulator, which shares no code with them."""

import asyncio
import math
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from config.account import Account
from otpreport import Verification
from providers import Outcome, Provider, Result
from providers.proof import Standing
from tasks.report import InDoubt
from tasks.wall import WallClock
from tests.support.http_clients import Clients
from tests.support.provider_samples import SAMPLES, Sample
from tests.support.simulator import SimulatorProcess
from worker.fleet.probes import Prober

IDS = ("5000:104571", "a b/c?d#e%2F&f=g~+é漢", "%2E%2E", "...", "a/../b", "../x", "' or 1;--", "x" * 256)
WRONG = "wrongSecretKey12"  # of the form of any secret, Base64 too

pytestmark = pytest.mark.parametrize("sample", SAMPLES.values(), ids=lambda sample: sample.label)


@pytest.fixture(scope="module")
def simulator() -> Iterator[SimulatorProcess]:
    """One process for the whole file."""
    with SimulatorProcess({"keys": keys()}) as process:
        yield process


@pytest.fixture(autouse=True)
def fresh(simulator: SimulatorProcess) -> None:
    """No faults, and an empty ledger."""
    simulator.set_plan({})
    simulator.reset()


def keys() -> list[dict[str, object]]:
    """Return each sample's key, once."""
    found = [{"provider": sample.name, **sample.key} for sample in SAMPLES.values()]
    return [key for number, key in enumerate(found) if key not in found[:number]]


def happened(message_id: str, *, verified: bool = True, occurred_s: float = 10.0) -> Verification:
    """Return an event of some seconds ago."""
    now_ms = int(time.time() * 1000)
    return Verification.from_wire(
        {
            "account": "main",
            "message_id": message_id,
            "occurred_at": now_ms - int(occurred_s * 1000),
            "sent_at": now_ms - 60_000,
            "verified": verified,
        }
    )


async def reported(
    provider: Provider, *events: Verification, clients: Clients | None = None
) -> list[Outcome]:
    """Report events one after the other."""
    found: list[Outcome] = []
    async with (clients or Clients())(read=2.0) as http:
        for event in events:
            request = provider.request(event, now=time.time(), nonce=secrets.token_hex(16))
            found.append(provider.outcome(await http.send(request, math.inf), event))
    return found


@pytest.mark.parametrize(
    "clients", [Clients("builtin"), Clients("httpx")], ids=lambda clients: clients.engine
)
async def test_reports_of_any_id_are_taken(
    sample: Sample, simulator: SimulatorProcess, clients: Clients
) -> None:
    """What is said arrives: every id as it was, whatever a URL makes of it; and the answer is understood."""
    provider = sample.provider(simulator.url)
    verified = (True, False) if provider.unverified == "reported" else (True,)
    events = [happened(name, verified=said) for name in IDS for said in verified]
    outcomes = await reported(provider, *events, clients=clients)
    assert {outcome.result for outcome in outcomes} == {Result.DELIVERED}, outcomes
    assert all(outcome.request_id for outcome in outcomes) is bool(sample.request_id)
    arrived = [(row["message_id"], row["verified"], row["code"]) for row in simulator.ledger()]
    assert arrived == [(event.message_id, event.verified, "ok") for event in events]


async def test_a_report_at_the_moment_of_sending_is_taken(
    sample: Sample, simulator: SimulatorProcess
) -> None:
    """A clock that is ahead, or behind the sender's, makes no time that the provider refuses."""
    now_ms = int(time.time() * 1000)
    odd = [happened("ahead", occurred_s=-30.0), replace_sent(happened("behind"), now_ms - 100)]
    outcomes = await reported(sample.provider(simulator.url), *odd)
    assert [outcome.result for outcome in outcomes] == [Result.DELIVERED] * 2, outcomes


def replace_sent(event: Verification, sent_ms: int) -> Verification:
    """Return the event of a message that was sent later than that."""
    return Verification.from_wire({**event.to_wire(), "sent_at": sent_ms})


async def test_other_secrets_are_refused(sample: Sample, simulator: SimulatorProcess) -> None:
    """The control: the simulator looks at what proves the sender, and its refusal stops the account."""
    secret = {name: WRONG for name, value in sample.options.items() if value in sample.secrets}
    (outcome,) = await reported(sample.provider(simulator.url, **secret), happened("1"))
    assert outcome.result is Result.ACCOUNT
    assert simulator.summary()["taken"] == 0


async def test_a_throttled_report_waits(sample: Sample, simulator: SimulatorProcess) -> None:
    """Above the key's rate the provider says so in its own way."""
    simulator.change_plan(rates={str(sample.key["id"]): 1})
    outcomes = await reported(sample.provider(simulator.url), *(happened(f"{n}") for n in range(3)))
    assert [outcome.result for outcome in outcomes] == [Result.DELIVERED, Result.THROTTLED, Result.THROTTLED]


@pytest.mark.parametrize("kind", ["challenge", "empty", "html", "truncated", "unavailable", "lost", "hang"])
async def test_no_fault_of_the_way_is_taken_for_success(
    sample: Sample, simulator: SimulatorProcess, kind: str
) -> None:
    """What a firewall, a portal, a proxy or a torn connection answers is unknown, for every form of success."""
    simulator.change_plan(faults=[{"kind": kind}])
    try:
        (outcome,) = await asyncio.wait_for(reported(sample.provider(simulator.url), happened("1")), 30)
    except InDoubt:
        return
    assert outcome.result is Result.UNKNOWN


async def test_a_probe_proves_the_keys(sample: Sample, simulator: SimulatorProcess) -> None:
    """Right keys pass as far as the report, which is not recorded; wrong ones are refused."""
    provider = sample.provider(simulator.url)
    options = type(provider).Options.model_validate(dict(sample.options))
    account = Account(sample.name, sample.name, simulator.url, 1, "group", 1, 60.0, options)
    wrong = {name: WRONG for name, value in sample.options.items() if value in sample.secrets}
    others = type(provider).Options.model_validate({**sample.options, **wrong})
    async with Clients()() as http:
        prober = Prober(http, WallClock())
        assert (await prober.probe(account)).standing is Standing.ACCEPTED
        assert (await prober.probe(replace(account, options=others))).standing is Standing.REFUSED
    assert simulator.summary()["taken"] == 0
    assert not any(row["message_id"] for row in simulator.ledger())
