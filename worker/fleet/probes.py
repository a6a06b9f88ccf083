"""Test each account's keys at its provider, with a request that reports nothing."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import cast

from pydantic import BaseModel, SecretStr

from config.account import Account, provider_of
from config.settings import Settings
from providers.base import Answer, Outcome, Provider, Result
from providers.proof import Proof, Standing, weigh
from tasks.report import InDoubt, NotSent, ProviderClock
from tasks.wall import WallClock
from worker.fleet.checks import Finding, Level
from worker.http.client import HttpClient, http_client

TRY_AGAIN = "check its endpoint and the network, then try again"


@dataclass(frozen=True, slots=True)
class Probed:
    """The state of an account's keys; `control` is the result of the same probe with wrong secrets, if it was sent."""

    account: str
    standing: Standing
    outcome: Outcome
    control: Proof | None = None

    @property
    def finding(self) -> Finding:
        """The finding for the operator."""
        answer = _outcome_text(self.outcome)
        match self.standing:
            case Standing.ACCEPTED:
                text = f"{self.account}: the provider accepts its keys (permission and app id: only a report can tell)"
                return Finding("keys", Level.OK, text)
            case Standing.REFUSED:
                text, fix = "the provider refuses its keys", "correct them in its settings"
            case Standing.BARRED:
                text, fix = "its keys are valid, but may not report", "ask the provider for the permission"
            case Standing.UNPROVED if self.control and self.control.standing is Standing.UNPROVED:
                text = "inconclusive: the control request with wrong secrets got no usable answer"
                answer, fix = _outcome_text(self.control.outcome), TRY_AGAIN
            case Standing.UNPROVED if self.control is not None:
                text = "inconclusive: the control request with wrong secrets got the same answer"
                fix = "check that its endpoint is the provider's"
            case Standing.UNPROVED:
                text, fix = "inconclusive", TRY_AGAIN
        return Finding("keys", Level.WARN, f"{self.account}: {text}: {answer}", fix)


def _outcome_text(outcome: Outcome) -> str:
    return " ".join(word for word in (outcome.code, outcome.message) if word)


class Prober:
    """Send probes, each newly signed; a wrong clock is corrected once from the provider's answer."""

    def __init__(self, http: HttpClient, wall: ProviderClock) -> None:
        self._http = http
        self._wall = wall

    async def probe(self, account: Account) -> Probed:
        """Return the state of an account's keys; the control detects an endpoint that accepts any keys."""
        proof = await self._ask(account, _provider(account, account.options))
        if proof.standing not in {Standing.ACCEPTED, Standing.BARRED}:
            return Probed(account.name, proof.standing, proof.outcome)
        control = await self._ask(account, _provider(account, with_other_secrets(account.options)))
        standing = proof.standing if control.standing is Standing.REFUSED else Standing.UNPROVED
        return Probed(account.name, standing, proof.outcome, control)

    async def _ask(self, account: Account, provider: Provider) -> Proof:
        outcome, answer = await self._send(account, provider)
        if outcome.result is Result.CLOCK and answer and self._wall.correct(account.name, answer):
            outcome, _ = await self._send(account, provider)
        return weigh(outcome, provider.key_faults)

    async def _send(self, account: Account, provider: Provider) -> tuple[Outcome, Answer | None]:
        request = provider.probe(now=self._wall.now(account.name), nonce=secrets.token_hex(16))
        try:
            answer = await self._http.by(account.route).send(request, math.inf)
        except (NotSent, InDoubt) as error:
            return Outcome(Result.TRANSIENT, message=str(error)), None
        return provider.probed(answer), answer


def with_other_secrets(options: BaseModel) -> BaseModel:
    """Return options with the same key id and wrong secrets of the same length."""
    fields: dict[str, object] = {name: getattr(options, name) for name in type(options).model_fields}
    others = {
        name: SecretStr(_other(value.get_secret_value()))
        for name, value in fields.items()
        if isinstance(value, SecretStr)
    }
    return options.model_copy(update=cast("dict[str, object]", others))


def _other(secret: str) -> str:
    return "".join("x" if letter != "x" else "y" for letter in secret)


def _provider(account: Account, options: BaseModel) -> Provider:
    return provider_of(replace(account, options=options))


def probe_all(settings: Settings) -> list[Probed]:
    """Probe every account at once."""
    return asyncio.run(_probe_all(settings, settings.accounts.values()))


async def _probe_all(settings: Settings, accounts: Iterable[Account]) -> list[Probed]:
    http = http_client(
        settings.http_engine,
        connections=len(settings.accounts),
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
    )
    prober = Prober(http, WallClock())
    try:
        return list(await asyncio.gather(*(prober.probe(account) for account in accounts)))
    finally:
        await http.close()
