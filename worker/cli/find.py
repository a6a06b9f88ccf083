"""Tell what happened to an event, by its message id."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from config.faults import nearest
from otpreport.event import is_account
from tasks.accounts.states import FLOWING
from tasks.dedupe import Remembered
from tasks.find.finder import (
    DeadPlace,
    DeliveredPlace,
    EndedPlace,
    EventPlace,
    Finder,
    Looked,
    Place,
    TakenPlace,
    UnclearPlace,
    WaitingPlace,
)
from tasks.find.memory import EndedMemory
from tasks.find.otps import OtpPlace
from tasks.fleet.epoch import Loss
from tasks.fleet.pulse import PulseReader
from tasks.fleet.snapshot import AccountSnapshot
from tasks.history import History
from tasks.keyspace import Queues, find_queues
from worker.cli.errors import DONE, NO, WRONG, CommandError
from worker.cli.letters import as_record
from worker.cli.otp_places import otp_fields, otp_sentence
from worker.cli.screen import safe, screen, write_json
from worker.cli.session import Session, session
from worker.fleet.wording import STATE_PHRASES, count, iso, moment, number, plain, span


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the answer needs beside the event: the accounts, the workers' hosts, what Redis has lost."""

    now_ms: int
    accounts: Mapping[str, AccountSnapshot]
    hosts: Mapping[str, str]
    loss: Loss | None
    queues: Queues


def find(message_id: str, *, account: str, as_json: bool) -> int:
    """Print each place where the event is, or that it is unknown here, and how far this looked."""
    if account and not is_account(account):
        raise CommandError(
            WRONG, f"--account {plain(account)} is not an account's name: use a-z, 0-9, _ and -"
        )
    began = time.monotonic()
    with session(keyless=True) as opened:
        fleet = _fleet(opened, account)
        names = [account] if account else sorted({*fleet.accounts, *fleet.queues.named})
        memory = EndedMemory(opened.client, opened.keys, Remembered(opened.settings.dedupe_ttl))
        places, looked = Finder(opened.client, opened.keys, memory).find(message_id, names)
        since_ms = memory.since_ms()
    if account and not places and not (looked.waiting or looked.notices):
        _check_known(account, fleet)
    if as_json:
        write_json(_record(message_id, places, looked, since_ms, fleet, time.monotonic() - began))
    else:
        for line in _lines(message_id, places, looked, since_ms, fleet):
            screen().print(safe(line), soft_wrap=True)
    return DONE if places else NO


def _fleet(opened: Session, account: str) -> Fleet:
    snapshot = opened.snapshots().read()
    accounts = {one.name: one for one in snapshot.accounts}
    pulse = PulseReader(opened.client, opened.keys).read([])
    queues = Queues(complete=True) if account else find_queues(opened.client, opened.keys, accounts)
    hosts = {one.worker: one.host for one in pulse.workers}
    return Fleet(snapshot.now_us // 1000, accounts, hosts, pulse.memory.loss, queues)


def _check_known(account: str, fleet: Fleet) -> None:
    if account not in fleet.accounts:
        near = nearest(account, fleet.accounts)
        fix = f"did you mean {near}?" if near else f"use one of {', '.join(sorted(fleet.accounts))}"
        raise CommandError(WRONG, f"--account {account}: no such account: {fix}")


def _lines(
    message_id: str, places: Sequence[Place], looked: Looked, since_ms: int, fleet: Fleet
) -> Iterator[str]:
    for place in places:
        yield f"{place.account}: {_sentence(place, fleet)}"
    if not places:
        yield from _not_found(message_id, since_ms, everywhere=_is_complete(looked, fleet))
        yield _how_far(looked, since_ms)
    yield from _doubts(looked, since_ms, fleet)


def _not_found(message_id: str, since_ms: int, *, everywhere: bool) -> Iterator[str]:
    if not everywhere:
        yield f"{message_id} was not found, but this could not look everywhere: see below."
        return
    yield (
        f"{message_id} is unknown here: it does not wait, is no dead letter and no OTP that is tracked,"
        f" and was not delivered since {moment(since_ms)} UTC."
    )
    yield (
        "Either it was never queued here, or it was delivered earlier, or it ended as skipped, shed or purged,"
        " or as a removed dead letter, which is not remembered. Or it waits in the spool of a web app, on that"
        " machine's disk: its receipt said `spooled`."
    )


def _is_complete(looked: Looked, fleet: Fleet) -> bool:
    return looked.whole and fleet.queues.complete and not fleet.queues.more


def _how_far(looked: Looked, since_ms: int) -> str:
    again = "" if looked.looks == 1 else ", twice"
    notices = f" and {count(looked.notices, 'notice')} of OTPs" if looked.notices else ""
    return (
        f"looked at {count(len(looked.accounts), 'account')} ({', '.join(looked.accounts)}){again}:"
        f" {number(looked.waiting)} waiting{notices}, {number(looked.taken)} leased or scheduled,"
        f" {count(looked.dead, 'dead letter')}; deliveries are remembered since {moment(since_ms)} UTC"
    )


def _doubts(looked: Looked, since_ms: int, fleet: Fleet) -> Iterator[str]:
    """Yield what this could not look at."""
    for fault in looked.faults:
        yield f"not readable: {fault}"
    if looked.interrupted:
        yield "redis was started anew, or replaced, while this looked: look again"
    if fleet.queues.more or not fleet.queues.complete:
        more = f"{number(fleet.queues.more)} more queues" if fleet.queues.more else "some queues"
        yield f"not looked at: {more} that no worker serves: name the account with --account"
    if fleet.loss is not None and fleet.loss.at_ms > since_ms:
        how = "empty" if fleet.loss.left_ms is None else f"with the data of {moment(fleet.loss.left_ms)} UTC"
        yield f"Redis came back {how} at {moment(fleet.loss.at_ms)} UTC: what it knew otherwise is lost"


def _sentence(place: Place, fleet: Fleet) -> str:
    return otp_sentence(place, fleet.now_ms) if isinstance(place, OtpPlace) else _of_event(place, fleet)


def _of_event(place: EventPlace, fleet: Fleet) -> str:
    match place:
        case WaitingPlace():
            return (
                f"waiting in the queue, about {count(place.before, 'event')} before it{_paused(place, fleet)}"
            )
        case TakenPlace(due_ms=None):
            host = fleet.hosts.get(place.worker, "")
            where = f"worker {place.worker}" + (f" on {host}" if host else "")
            who = f"leased by {where}" if place.worker else "held by no live worker: it is taken back soon"
            return f"{who}, {_attempt(place.leased.history)}, id {place.leased.tag}"
        case TakenPlace():
            return f"scheduled: {_due(place, fleet.now_ms)}, id {place.leased.tag}{_paused(place, fleet)}"
        case DeadPlace():
            letter = place.letter
            code = letter.text("code")
            why = ": ".join(word for word in (code, letter.text("message" if code else "why")) if word)
            waits = ", queued for replay" if letter.waits else ""
            again = ", died again after a replay" if letter.replayed_ms is not None else ""
            return (
                f"dead letter {letter.id} since {moment(letter.died_ms)} UTC: "
                f"{letter.reason}{f' - {why}' if why else ''}{again}{waits}"
            )
        case DeliveredPlace():
            as_false = "" if place.verified else ", as not verified"
            until = min(place.until_ms, fleet.now_ms)
            times = f"some time between {moment(place.from_ms)} and {moment(until)} UTC"
            return f"delivered{as_false}, {times} (the exact time is not kept)"
        case EndedPlace():
            how = "not as delivered: duplicate, skipped, shed, purged or removed"
            return f"ended while this looked (id {place.tag}), {how}"
        case UnclearPlace():
            return f"leased, scheduled or a dead letter (id {place.tag}): which, could not be read"


def _paused(place: WaitingPlace | TakenPlace, fleet: Fleet) -> str:
    account = fleet.accounts.get(place.account)
    if account is None:
        return "; no worker is configured for this account"
    return "" if account.state.name in FLOWING else f"; the account {STATE_PHRASES[account.state.name]}"


def _attempt(history: History) -> str:
    return f"attempt {len(history.attempts) + 1}{_last(history)}"


def _last(history: History) -> str:
    last = history.last
    if last is None:
        return ""
    replayed = ", replayed" if history.replayed_ms is not None else ""
    return f", last: {last.code}{f' {last.message}' if last.message else ''}{replayed}"


def _due(place: TakenPlace, now_ms: int) -> str:
    due = int(place.due_ms or 0)
    when = f"{moment(due)} UTC" + (f" (in {span((due - now_ms) / 1000)})" if due > now_ms else " (due)")
    if place.eta:
        return f"waits for its eta, {when}"
    alone = " (alone, because workers died with it)" if place.alone else ""
    return f"attempt {len(place.leased.history.attempts) + 1} at {when}{alone}{_last(place.leased.history)}"


def _record(
    message_id: str, places: Sequence[Place], looked: Looked, since_ms: int, fleet: Fleet, seconds: float
) -> dict[str, object]:
    return {
        "message_id": message_id,
        "found": bool(places),
        "places": [
            {"account": place.account, **_details(place, fleet), "text": _sentence(place, fleet)}
            for place in places
        ],
        "looked": {
            "accounts": list(looked.accounts),
            "waiting": looked.waiting,
            "notices": looked.notices,
            "taken": looked.taken,
            "dead": looked.dead,
            "looks": looked.looks,
            "complete": _is_complete(looked, fleet),
            "delivered_since": iso(since_ms),
            "seconds": round(seconds, 3),
            "doubts": list(_doubts(looked, since_ms, fleet)),
        },
    }


def _details(place: Place, fleet: Fleet) -> dict[str, object]:
    return otp_fields(place) if isinstance(place, OtpPlace) else _event_fields(place, fleet)


def _event_fields(place: EventPlace, fleet: Fleet) -> dict[str, object]:
    match place:
        case WaitingPlace():
            return {"place": "waiting", "before": place.before}
        case TakenPlace(due_ms=None):
            host = fleet.hosts.get(place.worker)
            return {"place": "leased", "worker": place.worker or None, "host": host, **_story(place)}
        case TakenPlace():
            waits = "eta" if place.eta else "alone" if place.alone else "retry"
            return {"place": "scheduled", "due_at": iso(int(place.due_ms or 0)), "waits_for": waits} | _story(
                place
            )
        case DeadPlace():
            return {"place": "dead", "letter": as_record(place.letter)}
        case DeliveredPlace():
            return {
                "place": "delivered",
                "from": iso(place.from_ms),
                "until": iso(place.until_ms),
                "verified": place.verified,
            }
        case EndedPlace():
            return {"place": "ended", "id": place.tag}
        case UnclearPlace():
            return {"place": "unclear", "id": place.tag}


def _story(place: TakenPlace) -> dict[str, object]:
    history = place.leased.history
    last = history.last
    return {
        "id": place.leased.tag,
        "attempt": len(history.attempts) + 1,
        "last_code": last.code if last else None,
        "last_message": last.message if last else None,
        "replayed_at": iso(history.replayed_ms),
    }
