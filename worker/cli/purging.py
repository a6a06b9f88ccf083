"""What the purges of waiting events have in common: the question and the last line."""

from __future__ import annotations

from worker.cli.ask import ask
from worker.cli.errors import DONE
from worker.cli.screen import screen, write_json
from worker.fleet.wording import count, plain


def ask_to_drop(total: int, name: str) -> None:
    """Ask whether so many events of an account shall be dropped; CommandError if not."""
    ask(
        f"Permanently drop {count(total, 'event')} of {plain(name)}?",
        unattended="no terminal to confirm on: add --yes to purge",
        refused="nothing was purged",
    )


def say_purged(name: str, total: int, purged: int, *, as_json: bool) -> int:
    """Print how many were found and purged; return the exit status."""
    if as_json:
        write_json({"account": name, "found": total, "purged": purged})
    elif total:
        screen().print(f"purged {count(purged, 'event')}", soft_wrap=True)
    return DONE
