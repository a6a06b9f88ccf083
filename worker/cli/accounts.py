"""The configured accounts, as the workers see them."""

from __future__ import annotations

from config.account import Account
from tasks.fleet.snapshot import AccountSnapshot
from worker.cli.errors import DONE
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.session import session
from worker.fleet.wording import iso, keeps_going, number, why_not_running


def list_accounts(*, as_json: bool) -> int:
    """Print every configured account with its state."""
    with session(keyless=True) as opened:
        snapshot = opened.snapshots().read()
        accounts = opened.settings.accounts
    pairs = [(accounts[seen.name], seen) for seen in snapshot.configured]
    if as_json:
        write_json([_record(account, seen) for account, seen in pairs])
        return DONE
    rows = table("account", "provider", "rate/s", "state", "endpoint", right=("rate/s",))
    for account, seen in pairs:
        style = "green" if seen.state.name == "running" else "red"
        endpoint = account.endpoint.removeprefix("https://")
        rate, state = number(account.rate_limit), safe(seen.state.name.replace("_", " "), style)
        rows.add_row(account.name, account.provider, rate, state, safe(endpoint))
    console = screen()
    console.print(rows)
    for _, seen in pairs:
        if seen.state.name != "running":
            console.print(safe(why_not_running(seen), "red"))
        if seen.state.keep_going:
            console.print(safe(keeps_going(seen), "yellow"))
    return DONE


def _record(account: Account, seen: AccountSnapshot) -> dict[str, object]:
    return {
        "account": account.name,
        "provider": account.provider,
        "endpoint": account.endpoint,
        "rate_configured": account.rate_limit,
        "rate_effective": round(seen.effective_rate(account.rate_limit), 3),
        "rate_group": account.rate_group,
        "max_attempts": account.max_attempts,
        "max_age_seconds": account.max_age,
        "state": seen.state.name,
        "code": seen.state.code,
        "message": seen.state.message,
        "by": seen.state.by,
        "since": iso(seen.state.since_ms),
        "refused_run": seen.state.refused,
        "keep_going": seen.state.keep_going,
    }
