"""Key rotation while the worker runs: keys are re-read from their files, checked, and used from the next request on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Protocol

from redis.exceptions import RedisError

from config.account import Account, key_hint, provider_of
from config.changes import compare
from config.faults import SettingsError
from config.logging import log_event
from config.settings import Settings
from config.watch import Watch
from providers.base import Provider
from tasks.limiter.groups import DerivedGroup
from worker.daemon import in_daemon
from worker.groups import derived, with_groups
from worker.metrics import Metrics

logger = logging.getLogger("otpreport.worker")

INTERVAL = 2.0
"""Seconds between two checks of the files; a change is read after this long without another one."""


class Renewable(Protocol):
    """Who signs with an account's keys."""

    def renew(self, account: str, provider: Provider) -> None:
        """Sign with a provider's new keys from now on."""
        ...


ProbeNow = Callable[[str], Awaitable[None]]
Settle = Callable[[Iterable[DerivedGroup]], Awaitable[Mapping[str, str]]]


class Credentials:
    """Keep the accounts' keys in step with their files; invalid settings change nothing.

    `settings` have the rate groups in force; `settle` tells Redis which group the key of an account belongs to. Without
    a `watch` no file is known, and the keys stay what they are. `probe_now`: try a refused account with its new keys.
    """

    def __init__(
        self,
        settings: Settings,
        watch: Watch | None,
        report: Renewable,
        settle: Settle,
        probe_now: ProbeNow,
        metrics: Metrics,
    ) -> None:
        self._running = settings
        self._watch = watch
        self._report = report
        self._settle = settle
        self._probe_now = probe_now
        self._metrics = metrics
        self._restart: tuple[str, ...] = ()

    @property
    def running(self) -> Settings:
        """The settings with the keys that are in use."""
        return self._running

    def regroup(self, groups: Mapping[str, str]) -> None:
        """Use these groups from now on."""
        self._running = with_groups(self._running, groups)

    async def run(self, interval: float = INTERVAL) -> None:
        """Check the files until cancelled, one check at a time and `interval` seconds apart.

        They may be on a network: each check has its own thread, and one that hangs does not delay the stop.
        """
        while self._watch is not None:
            await asyncio.sleep(interval)
            try:
                found = await in_daemon(self._watch.look)
            except SettingsError as error:
                faults = error.faults
            else:
                if found is not None:
                    await self._take(found)
                continue
            self._refuse(faults)

    async def _take(self, found: Settings) -> None:
        changes = compare(self._running, found)
        for name, account in changes.renewed.items():
            self._report.renew(name, provider_of(account))
            self._metrics.reloads[name, "changed"].inc()
            log_event(logger, logging.INFO, "credentials changed", account=name, key_id=key_hint(account))
        self._running = _with_accounts(self._running, changes.renewed)
        restart = (*changes.restart, *await self._regroup(found, changes.renewed))
        # without Redis nothing is sent, and the probe comes when it is due
        with suppress(RedisError, OSError):
            for name in changes.renewed:
                await self._probe_now(name)
        self._metrics.stale.set(bool(restart))
        if restart and restart != self._restart:
            log_event(logger, logging.WARNING, "settings changed, restart needed", settings=restart)
        self._restart = restart

    async def _regroup(self, found: Settings, renewed: Mapping[str, Account]) -> tuple[str, ...]:
        """Let new key ids share the limiters in use; return the settings of accounts that join another one's.

        Without Redis the next worker that starts will do it.
        """
        wanted = [one for one in derived(found) if one.account in renewed]
        try:
            groups = await self._settle(wanted)
        except (RedisError, OSError):
            return ()
        running = self._running.accounts
        return tuple(
            f"accounts.{name}.rate_group"
            for name, group in groups.items()
            if group != running[name].rate_group
        )

    def _refuse(self, faults: tuple[str, ...]) -> None:
        for name in self._running.accounts:
            self._metrics.reloads[name, "refused"].inc()
        self._metrics.stale.set(1)
        log_event(logger, logging.WARNING, "settings invalid, keeping the old keys", faults=faults)


def _with_accounts(settings: Settings, renewed: Mapping[str, Account]) -> Settings:
    return settings.model_copy(update={"accounts": {**settings.accounts, **renewed}})
