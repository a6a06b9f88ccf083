"""Replay dead letters below live traffic; cancel that; show its progress."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from redis.exceptions import RedisError

from tasks.accounts.states import FLOWING
from tasks.dead_letters.fate import FateReader, Fates
from tasks.dead_letters.letter import UNREADABLE, Letter
from tasks.dead_letters.store import DeadLetters, Replay, ReplayPace
from tasks.dedupe import Remembered
from tasks.fleet.snapshot import AccountSnapshot
from tasks.memory import DeliveredMemory
from worker.cli.errors import DONE, NO, WRONG, CommandError
from worker.cli.moves import Judge, Move, Preview, check_json, progress
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.selection import Query
from worker.cli.session import MOST_AWAY, Session, session
from worker.cli.who import who
from worker.fleet.client import is_wrong, refused
from worker.fleet.wording import count, number, span

POLL_INTERVAL = 0.5
"""Seconds between two looks at how far a replay is."""

LOOKS_REST = 4
"""Pause after a look at many letters, in times of what it took: Redis is for the workers."""

MIN_SHARE = 0.000001
"""The smallest share of a rate; at 1000 requests/s a letter then waits 17 minutes for the next."""

IN_DOUBT = "in doubt: the provider may have them already (--include-in-doubt replays them too)"
NOT_CONFIGURED = "of accounts that are not configured: no worker would serve them"
LONG = "with a message over 64 KB: not replayable, only the first part is kept"
WAITING = "queued for replay already (see `dead progress`)"
NOT_WAITING = "not queued for replay"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The rate and shortest duration of an account's replay; unknown for an account that is not configured."""

    replay: Replay
    seen: AccountSnapshot | None

    @property
    def rate(self) -> float | None:
        """Letters a second, at most."""
        pace = self.replay.pace
        return (
            None if pace is None or self.seen is None else pace.share * self.seen.effective_rate(pace.limit)
        )

    @property
    def seconds(self) -> float | None:
        """How long they take, at least."""
        return self.replay.waiting / self.rate if self.rate else None

    @property
    def state(self) -> str:
        """The account's."""
        return self.seen.state.name if self.seen and self.seen.configured else "not configured"

    def record(self) -> dict[str, object]:
        """Return it for a script."""
        pace = self.replay.pace
        return {
            "account": self.replay.account,
            "state": self.state,
            "waiting": self.replay.waiting,
            "share": pace.share if pace else None,
            "rate": round(self.rate, 3) if self.rate is not None else None,
            "seconds": round(self.seconds, 1) if self.seconds is not None else None,
        }

    def text(self) -> str:
        """Return it for the operator."""
        if self.rate is None or self.seconds is None:
            return self.replay.account
        pace = f"at most {self.rate:,.4g}/s below live traffic, {span(math.ceil(self.seconds))} at best"
        held = "" if self.state in FLOWING else f"; the account is {self.state}: they wait"
        return f"{self.replay.account}: {pace}{held}"


def replay_letters(
    query: Query,
    *,
    share: str,
    include_in_doubt: bool,
    wait: bool,
    timeout: float,
    by: str,
    yes: bool,
    as_json: bool,
) -> int:
    """Queue the selected letters for replay by the workers; `wait` until all have ended, or `timeout` s (0: ever)."""
    part, person = read_share(share), who(by)
    if timeout and not wait:
        raise CommandError(WRONG, "--timeout needs --wait: nothing is waited for without it")
    check_json(as_json=as_json, yes=yes)
    with session() as opened:
        accounts = opened.settings.accounts
        letters = DeadLetters(opened.client, opened.keys)
        paces = {name: ReplayPace(part, one.rate_group, one.rate_limit) for name, one in accounts.items()}
        selection = query.to_move(letters, accounts)
        details: dict[str, object] = {"share": part, "include_in_doubt": include_in_doubt or None}
        judge = judge_of(accounts, include_in_doubt=include_in_doubt)
        fates = Fates()

        def queue(some: Iterable[Letter]) -> Iterator[int]:
            return letters.replay(fates.note(some) if wait else some, paces)

        move = Move("replay", "replayed", judge, queue, details)
        preview = move.decide(
            selection,
            yes=yes,
            as_json=as_json,
            details=lambda preview: (one.text() for one in _foreseen(opened, letters, preview, paces)),
        )
        asked_for = move.carry_out(opened, selection, preview, person)

        def look() -> list[Outlook]:
            return _outlooks(opened, letters.replays(paces))

        record = _replayed(preview, asked_for, _patiently(opened, look) if wait else look())
        if not as_json and preview.total:
            text = f"queued {count(asked_for, 'dead letter')} for replay: see `dead progress`"
            screen().print(text, soft_wrap=True)
        if wait:
            wait_for(opened, letters, fates, timeout)
            record["became"] = fates.counts()
            if not as_json and preview.total:
                screen().print(_what_became(fates), soft_wrap=True)
        if as_json:
            write_json(record)
    unmet = preview.missing or (selection.ids and set(preview.left) - {WAITING})
    return NO if unmet or (wait and not fates.all_delivered) else DONE


def judge_of(accounts: Collection[str], *, include_in_doubt: bool) -> Judge:
    """Return the judge of which letters are not replayed, and why."""

    def judge(letter: Letter) -> str:
        if letter.account not in accounts:
            return NOT_CONFIGURED
        if not letter.readable:
            return UNREADABLE
        if letter.cut:
            return LONG
        if letter.waits:
            return WAITING
        return IN_DOUBT if letter.in_doubt and not include_in_doubt else ""

    return judge


def recall_letters(query: Query, *, by: str, yes: bool, as_json: bool) -> int:
    """Take selected letters out of the replay: they are plain dead letters again."""
    person = who(by)
    check_json(as_json=as_json, yes=yes)
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        selection = query.to_move(letters, opened.settings.accounts)
        move = Move("recall", "recalled", lambda one: "" if one.waits else NOT_WAITING, letters.recall)
        preview = move.decide(selection, yes=yes, as_json=as_json)
        recalled = move.carry_out(opened, selection, preview, person)
    if as_json:
        left = preview.left[NOT_WAITING]
        write_json({"recalled": recalled, "left_not_waiting": left, "not_found": preview.missing})
    elif preview.total:
        sent = preview.total - recalled
        meanwhile = f"; {number(sent)} had been sent meanwhile" if sent else ""
        screen().print(f"recalled {count(recalled, 'dead letter')}{meanwhile}")
    return NO if preview.missing else DONE


def show_progress(*, wait: bool, as_json: bool) -> int:
    """Print the letters queued for replay, by account."""
    with session() as opened:
        letters = DeadLetters(opened.client, opened.keys)
        if wait:
            follow(opened, letters, None)
        outlooks = _outlooks(opened, letters.replays())
    if as_json:
        write_json({"replays": [outlook.record() for outlook in outlooks]})
        return DONE
    console = screen()
    if not outlooks:
        console.print("no dead letters are queued for replay")
        return DONE
    rows = table(
        "account", "state", "waiting", "share", "rate/s", "time left", right=("waiting", "share", "rate/s")
    )
    for one in outlooks:
        pace = one.replay.pace
        share = f"{pace.share:.4g}" if pace else ""
        rate = f"{one.rate:,.4g}" if one.rate is not None else ""
        left = f"{span(math.ceil(one.seconds))} at best" if one.seconds is not None else ""
        rows.add_row(safe(one.replay.account), safe(one.state), number(one.replay.waiting), share, rate, left)
    console.print(rows)
    return DONE


def follow(opened: Session, letters: DeadLetters, accounts: Collection[str] | None) -> None:
    """Return when the workers have taken the last letter of these accounts; Ctrl-C ends only the display."""
    try:
        with progress() as shown:
            bar = shown.add_task("replay", total=None)
            most = 0
            while outlooks := _patiently(opened, lambda: _outlooks(opened, letters.replays(accounts))):
                waiting = sum(one.replay.waiting for one in outlooks)
                most = max(most, waiting)
                shown.update(
                    bar, total=most, completed=most - waiting, description=_held(outlooks) or "replay"
                )
                time.sleep(POLL_INTERVAL)
    except KeyboardInterrupt:
        _continues()


def _held(outlooks: list[Outlook]) -> str:
    return " ".join(f"{one.replay.account} is {one.state}" for one in outlooks if one.state not in FLOWING)


def _continues() -> None:
    screen(sys.stderr).print("the replay continues: `dead progress` shows it, `dead recall --all` cancels it")


def wait_for(opened: Session, letters: DeadLetters, fates: Fates, timeout: float) -> None:
    """Return when the event of each letter has ended, after `timeout` seconds (0: never), or on Ctrl-C."""
    memory = DeliveredMemory(opened.client, opened.keys, Remembered(opened.settings.dedupe_ttl))
    reader, deadline = (
        FateReader(opened.client, opened.keys, memory),
        time.monotonic() + (timeout or math.inf),
    )

    def look() -> list[Outlook]:
        reader.look(fates)
        return _outlooks(opened, letters.replays({one.account for one in fates.under_way}))

    try:
        with progress() as shown:
            bar = shown.add_task("replay", total=len(fates.under_way))
            while True:
                began = time.monotonic()
                outlooks = _patiently(opened, look, deadline)
                took = time.monotonic() - began
                shown.update(bar, completed=fates.ended.total(), description=_held(outlooks) or "replay")
                if not fates.under_way or time.monotonic() >= deadline:
                    return
                rest = max(POLL_INTERVAL, LOOKS_REST * took)
                time.sleep(max(0.0, min(rest, deadline - time.monotonic())))
    except KeyboardInterrupt:
        _continues()
    except RedisError as error:
        if is_wrong(error):
            raise
        print(refused(opened.settings, error), file=sys.stderr)
        _continues()


def _patiently(
    opened: Session, look: Callable[[], list[Outlook]], deadline: float = math.inf
) -> list[Outlook]:
    """Return what a look finds, once Redis answers: within MOST_AWAY, and before the deadline."""
    ends = min(deadline, time.monotonic() + MOST_AWAY)
    is_told = False
    while True:
        try:
            return look()
        except RedisError as error:
            if is_wrong(error) or time.monotonic() >= ends:
                raise
            if not is_told:
                print(f"{refused(opened.settings, error)}: trying for {MOST_AWAY:.0f} s", file=sys.stderr)
            is_told = True
            time.sleep(POLL_INTERVAL)


def read_share(text: str) -> float:
    """Return the share that `0.2` or `20%` means; CommandError if it is not one."""
    number_, percent = text.strip().removesuffix("%"), text.strip().endswith("%")
    try:
        share = float(number_) / (100 if percent else 1)
    except ValueError:
        share = math.nan
    if not MIN_SHARE <= share <= 1:
        raise CommandError(
            WRONG,
            f"--share {text!r} is not a share of the rate: use a number from {MIN_SHARE:f} to 1, such as 0.2",
        )
    return share


def _foreseen(
    opened: Session, letters: DeadLetters, preview: Preview, paces: Mapping[str, ReplayPace]
) -> list[Outlook]:
    """Return the outlook, including letters that are queued already."""
    waiting = {one.account: one.waiting for one in letters.replays(preview.accounts)}
    counts = sorted(preview.accounts.items())
    return _outlooks(opened, [Replay(name, waiting[name] + more, paces[name]) for name, more in counts])


def _outlooks(opened: Session, replays: list[Replay]) -> list[Outlook]:
    replays = [replay for replay in replays if replay.waiting]
    if not replays:
        return []
    seen = {account.name: account for account in opened.snapshots().read().accounts}
    return [Outlook(replay, seen.get(replay.account)) for replay in replays]


def _replayed(preview: Preview, asked_for: int, outlooks: list[Outlook]) -> dict[str, object]:
    """Return what a replay did, for a script."""
    left = preview.left
    return {
        "replayed": asked_for,
        "left_in_doubt": left[IN_DOUBT],
        "left_waiting": left[WAITING],
        "left_not_configured": left[NOT_CONFIGURED],
        "left_unreadable": left[UNREADABLE],
        "not_found": preview.missing,
        "waiting": [outlook.record() for outlook in outlooks],
    }


def _what_became(fates: Fates) -> str:
    counts = fates.counts()
    always = {"delivered": "delivered", "dead_again": "dead again", "under_way": "still under way"}
    rarely = {"recalled": "recalled", "otherwise": "ended otherwise (skipped or purged)"}
    words = always | {name: word for name, word in rarely.items() if counts[name]}
    return ", ".join(f"{word} {number(counts[name])}" for name, word in words.items())
