"""Check the settings and the Redis they name."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from pydantic import SecretStr
from redis.exceptions import RedisError
from rich.console import Console
from rich.text import Text

from config.account import Account, key_hint, provider_of
from config.settings import Settings
from otpreport.address import read
from otpreport.place import place
from tasks.fleet.faults import faults
from tasks.fleet.pulse import PulseReader
from tasks.keys import Keys
from tasks.keyspace import find_queues
from worker.cli.errors import DONE, NO, WRONG
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.session import Session, refusal, settings_or_stop
from worker.fleet import checks
from worker.fleet.checks import Facts, Finding, Level
from worker.fleet.client import connect
from worker.fleet.rates import Rated
from worker.fleet.wording import count, span
from worker.groups import in_force

if TYPE_CHECKING:
    from worker.fleet.probes import Probed

STATUS = {Level.OK: DONE, Level.NOTE: DONE, Level.WARN: NO, Level.FAIL: WRONG}
STYLES = {Level.OK: "green", Level.NOTE: "cyan", Level.WARN: "yellow", Level.FAIL: "bold red"}
MASKED = "********"
LOCAL = {"localhost", "127.0.0.1", "::1"}


def check(*, probe: bool, as_json: bool) -> int:
    """Print the settings and the findings; return the exit status of the worst finding."""
    settings = settings_or_stop()
    if not as_json:
        _print_settings(screen(), settings)
    probed = _probed(settings) if probe else None
    findings: list[Finding] = []
    _show((account.finding for account in probed or ()), findings, silent=as_json)
    client = connect(settings)
    try:
        opened = Session(settings, client, Keys(settings.key_prefix))
        _show(_findings(opened), findings, silent=as_json)
        status = STATUS[checks.worst(findings)]
        settings = in_force(settings, client) if status != WRONG else settings
    except RedisError as error:
        stop = refusal(settings, error)
        findings.append(Finding("redis", Level.FAIL, stop.lines[0]))
        status = stop.status
        if not as_json:
            raise stop from error
    finally:
        client.close()
    if as_json:
        write_json(_record(settings, findings, status) | _probes(probed))
    else:
        screen().print(f"\n{_summed_up(findings)}: exit status {status}")
    return status


def _summed_up(findings: Iterable[Finding]) -> str:
    """Return how many findings there are that decide the exit status."""
    levels = Counter(finding.level for finding in findings)
    return f"{count(levels[Level.WARN], 'warning')}, {count(levels[Level.FAIL], 'error')}"


def _probed(settings: Settings) -> list[Probed]:
    # only now: it imports an HTTP library, which only --probe needs
    from worker.fleet.probes import probe_all  # noqa: PLC0415

    return probe_all(settings)


def _findings(opened: Session) -> Iterator[Finding]:
    """Yield the findings; stop after an unsuitable server."""
    untyped: Any = opened.client
    untyped.ping()  # the first one connects
    asked = time.perf_counter()
    untyped.ping()
    answered = f"answers in {(time.perf_counter() - asked) * 1000:.1f} ms"
    yield Finding("redis", Level.OK, f"{place(opened.settings.redis_url.get_secret_value())} {answered}")
    facts = Facts(opened.client)
    yield (server := checks.server(facts))
    if server.level is Level.FAIL:
        return
    yield checks.clock(opened.client)
    yield from _access(opened)
    yield checks.durability(facts)
    yield checks.eviction(facts)
    yield from checks.room(facts)
    queues = find_queues(opened.client, opened.keys, opened.settings.accounts)
    grouped = replace(opened, settings=in_force(opened.settings, opened.client))
    snapshot = grouped.snapshots().read()
    pulse = PulseReader(opened.client, opened.keys).read(list(opened.settings.accounts))
    yield from checks.clocks(pulse.workers, snapshot.now_us // 1000)
    yield from checks.deployments(pulse.differences)
    yield checks.memory(pulse.memory, snapshot.now_us // 1000)
    yield from checks.faults(faults(opened.client, snapshot, pulse))
    yield from checks.events(snapshot, queues)
    yield from checks.rates(
        Rated(seen, account.rate_group, account.rate_limit)
        for seen in snapshot.configured
        if (account := grouped.settings.accounts.get(seen.name)) is not None
    )
    yield from checks.unattended(snapshot, pulse.workers)
    yield from checks.workers(pulse.workers, snapshot.now_us // 1000)


def _access(opened: Session) -> Iterator[Finding]:
    """Try to connect without a password; then check our own rights."""
    url = opened.settings.redis_url.get_secret_value()
    user, _, _ = urlsplit(url).netloc.rpartition("@")
    matters = Level.NOTE if is_try_out(url) else Level.WARN
    anonymous = opened.settings.model_copy(
        update={"redis_url": SecretStr(url.replace(f"{user}@", "", 1) if user else url)}
    )
    client = connect(anonymous)
    try:
        yield checks.access(client, matters=matters)
    finally:
        client.connection_pool.disconnect()
    yield checks.rights(opened.client, matters=matters)


def is_try_out(url: str) -> bool:
    """Whether it is a Redis on this machine without user and password."""
    address = read(url)
    has_user = {"username", "password"} & address.options.keys()
    local = address.unix or address.options.get("host", "localhost") in LOCAL
    return local and not has_user and not address.sentinels


def _print_settings(console: Console, settings: Settings) -> None:
    rows = table("", "")
    rows.show_header = False
    rows.add_row("redis", safe(masked_url(settings.redis_url)))
    rows.add_row("key prefix", settings.key_prefix or "none")
    for account in settings.accounts.values():
        rows.add_row(Text(account.name, style="bold"), safe(_summary(account)))
        rows.add_row("", safe(", ".join(f"{name} {value}" for name, value in credentials(account).items())))
    console.print(rows)
    console.print()


def _show(findings: Iterable[Finding], shown: list[Finding], *, silent: bool) -> None:
    """Print each finding as it comes and keep it, even if a later check fails."""
    for finding in findings:
        shown.append(finding)
        if not silent:
            _print_finding(screen(), finding)


def _print_finding(console: Console, finding: Finding) -> None:
    rows = table("", "")
    rows.show_header = False
    level = Text(f"{finding.level:<4}", style=STYLES[finding.level])
    rows.add_row(level, safe(f"{finding.name}: {finding.text}"))
    if finding.fix:
        rows.add_row("", Text(f"-> {finding.fix}", style="dim"))
    console.print(rows)


def _summary(account: Account) -> str:
    in_flight = f", {account.max_in_flight} in flight" if account.max_in_flight else ""
    limits = (
        f"{account.rate_limit}/s{in_flight}, {account.max_attempts} attempts within {span(account.max_age)}"
    )
    return ", ".join(filter(None, (f"{account.provider} at {account.endpoint}", limits, str(account.route))))


def credentials(account: Account) -> dict[str, str]:
    """Return the provider's own settings, secrets masked and the key's id shortened."""
    key_id = provider_of(account).key_id
    shown: dict[str, str] = {}
    for name in type(account.options).model_fields:
        value = cast("object", getattr(account.options, name))
        if isinstance(value, SecretStr):
            shown[name] = MASKED
        elif value is not None:
            shown[name] = key_hint(account) if value == key_id else str(value)
    return shown


def masked_url(url: SecretStr) -> str:
    """Return the URL of Redis with its user, but without its password."""
    text = url.get_secret_value()
    parts = urlsplit(text)
    user, has_password, _ = parts.netloc.rpartition("@")[0].partition(":")
    scheme, _, rest = place(text).partition("://")
    if not user and not has_password:
        return place(text)
    return f"{scheme}://{user}{f':{MASKED}' if has_password else ''}@{rest}"


def _record(settings: Settings, findings: list[Finding], status: int) -> dict[str, object]:
    return {
        "ok": status == DONE,
        "redis": masked_url(settings.redis_url),
        "key_prefix": settings.key_prefix,
        "accounts": [_account_record(account) for account in settings.accounts.values()],
        "findings": [
            {"name": found.name, "level": found.level, "text": found.text, "fix": found.fix}
            for found in findings
        ],
    }


def _probes(probed: list[Probed] | None) -> dict[str, object]:
    """Return the state of the keys, for a script; empty without --probe."""
    if probed is None:
        return {}
    rows = [
        {
            "account": account.account,
            "keys": account.standing,
            "code": account.outcome.code,
            "message": account.outcome.message,
            "request_id": account.outcome.request_id,
        }
        for account in probed
    ]
    return {"probes": rows}


def _account_record(account: Account) -> dict[str, object]:
    return {
        "account": account.name,
        "provider": account.provider,
        "endpoint": account.endpoint,
        "rate_limit": account.rate_limit,
        "max_in_flight": account.max_in_flight,
        "rate_group": account.rate_group,
        "max_attempts": account.max_attempts,
        "max_age_seconds": account.max_age,
        "route": str(account.route),
        "options": credentials(account),
    }
