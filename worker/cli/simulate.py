"""Run the simulator, and print the settings of a worker for it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Container, Iterator
from functools import partial
from pathlib import Path

from config.faults import variable
from providers.registry import REGISTRY
from simulator.app import json_line
from simulator.app import main as serve
from simulator.limits import LIMITS
from simulator.settings import EXAMPLE, Key, Settings, load
from simulator.validation import InvalidSettingsError
from worker.cli.errors import WRONG, CommandError
from worker.cli.run import no_such_account

REDIS = "redis://localhost:6379/0"

FIRST, ALL = "tencent,alibaba", "all"

APPS = {"bird": "channel_id", "tencent": "sdk_app_id", "twilio_verify": "service_sid"}
"""What a provider calls that of an account which a report has to name."""

Accounts = dict[str, dict[str, str | int]]


def simulate(config: Path | None, host: str, port: int, *, env: bool, toml: bool, accounts: str = "") -> int:
    """Print what a worker needs, or one JSON line where no person reads it; then serve until SIGTERM.

    `accounts` are those whose settings are printed; all keys work.
    """
    if env and toml:
        raise CommandError(WRONG, "--env and --toml print the same settings: give one of them")
    names = _names(config, accounts)
    printed = _env if env else _toml if toml else _for_people if sys.stdout.isatty() else None
    announce = json_line if printed is None else partial(printed, names=names)

    def announced(settings: Settings, url: str) -> str:
        if sys.stderr.isatty() and not sys.stdout.isatty():  # what is printed goes to a file, unseen
            print(f"simulated providers are at {url}; Ctrl-C stops them", file=sys.stderr)
        return announce(settings, url)

    return serve(config, host, port, announced)


def _names(config: Path | None, accounts: str) -> list[str]:
    """Return the accounts to print; CommandError where one is asked for that there is not."""
    try:
        known = accounts_for(load(config or EXAMPLE), "http://localhost")
    except InvalidSettingsError:
        return []  # the simulator says what is wrong with them
    wanted = accounts or (FIRST if config is None else ALL)
    names = [*known] if wanted == ALL else [name.strip() for name in wanted.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise CommandError(WRONG, f"--accounts {no_such_account(unknown[0], known)}")
    return names


def accounts_for(settings: Settings, url: str) -> Accounts:
    """Return an account for each key that the simulator knows and that may report."""
    accounts: Accounts = {}
    seen: Counter[str] = Counter()
    for key in settings.keys:
        if not key.denied:
            seen[key.provider] += 1
            number = f"_{seen[key.provider]}" if seen[key.provider] > 1 else ""
            accounts[f"{key.provider}{number}"] = dict(_account(key, url))
    return accounts


def _account(key: Key, url: str) -> Iterator[tuple[str, str | int]]:
    *key_id, secret = _parts_of_key(key.provider)
    yield "provider", key.provider
    yield "endpoint", url
    yield from ((name, key.id) for name in key_id)
    yield secret, key.secret
    if key.token:
        options = REGISTRY[key.provider].Options.model_fields
        yield next(name for name in options if name in {"security_token", "session_token"}), key.token
    if key.provider in APPS:
        yield APPS[key.provider], key.apps[0]
    if key.provider == "tencent":
        yield "region", key.regions[0]
    if key.provider == "aws":
        yield "region", "us-east-1"  # the simulator is every region
    if key.limit != LIMITS[key.provider]:
        yield "rate_limit", key.limit


def _parts_of_key(provider: str) -> list[str]:
    """Return what a provider calls the id and the secret of a key: the first two of its options, or the only one."""
    return list(REGISTRY[provider].Options.model_fields)[:2]


def _env(settings: Settings, url: str, *, names: Container[str]) -> str:
    lines = [] if variable(("redis_url",)) in os.environ else [f"export {variable(('redis_url',))}={REDIS}"]
    for name, account in _chosen(settings, url, names).items():
        for option, value in account.items():
            lines.append(f"export {variable(('accounts', name, option))}={shlex.quote(str(value))}")
    return "".join(f"{line}\n" for line in lines)


def _chosen(settings: Settings, url: str, names: Container[str] | None) -> Accounts:
    accounts = accounts_for(settings, url).items()
    return {name: account for name, account in accounts if names is None or name in names}


def _toml(settings: Settings, url: str, *, names: Container[str]) -> str:
    lines = [
        f"# For a worker that reports to the simulator at {url}: name this file in OTPREPORT_CONFIG.",
        f'redis_url = "{REDIS}"',
    ]
    return "".join(f"{line}\n" for line in lines) + toml_accounts(settings, url, names)


def toml_accounts(settings: Settings, url: str, names: Container[str] | None = None) -> str:
    """Return the same accounts, all or those named, as they stand in a worker's file."""
    lines: list[str] = []
    for name, account in _chosen(settings, url, names).items():
        lines += ["", f"[accounts.{name}]"]
        lines += [f"{option} = {_quoted(value)}" for option, value in account.items()]
    return "".join(f"{line}\n" for line in lines)


def _quoted(value: str | int) -> str:
    return json.dumps(value, ensure_ascii=False)  # a basic string of TOML, or a number


def _for_people(settings: Settings, url: str, *, names: Container[str]) -> str:
    return f"""\
Simulated providers are at {url}: they check signatures,
enforce the rate limits and fail now and then. Paste this into another terminal, and
start a worker there with `otpreport run`:

{_env(settings, url, names=names)}
The other providers are there, too: `--accounts twilio,sinch` prints theirs, `--accounts all` every account.
What arrived:   curl -s {url}/-/summary
Each report:    curl -s {url}/-/ledger
Ctrl-C stops them.
"""
