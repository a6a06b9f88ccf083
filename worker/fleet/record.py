"""A look at the fleet as JSON: what `status --json` prints and the status page fetches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasks.fleet.epoch import Memory
from tasks.fleet.pulse import ErrorSeen, WorkerSeen
from tasks.fleet.snapshot import InFlight
from tasks.tracking.otps import Country, Otps
from worker.fleet.conversion import Conversion
from worker.fleet.notes import notes
from worker.fleet.status import AccountStatus, FleetStatus


def record(fleet: FleetStatus) -> dict[str, object]:
    """Return the whole look."""
    return {
        "redis": fleet.redis,
        "redis_up": True,
        "at_ms": fleet.now_ms,
        "workers": fleet.snapshot.workers,
        "workers_silent": fleet.silent,
        "books_gap": fleet.snapshot.gap,
        "otps_gap": fleet.snapshot.otps_gap,
        "faults": list(fleet.faults),
        "unattended": [account.name for account in fleet.unattended],
        "unserved": fleet.unserved.named,
        "unserved_more": {"queues": fleet.unserved.more, "events": fleet.unserved.more_events},
        "settings_differ": fleet.differences,
        "memory": _memory(fleet.memory),
        "notes": [{"level": note.level.value, "text": note.text} for note in notes(fleet)],
        "accounts": [_account(account) for account in fleet.accounts],
        "worker_list": [_worker(worker, fleet.now_ms) for worker in fleet.workers],
    }


def away(redis: str, reason: str, at_ms: int) -> dict[str, object]:
    """Return what there is to say without Redis, and since when."""
    return {"redis": redis, "redis_up": False, "at_ms": at_ms, "reason": reason}


def _memory(memory: Memory) -> dict[str, object]:
    loss = memory.loss
    return {
        "epoch": memory.epoch,
        "lost_at_ms": loss and loss.at_ms,
        "left_of_ms": loss and loss.left_ms,
        "operator_states_before": loss.operator_states if loss else "",
    }


def _account(account: AccountStatus) -> dict[str, object]:
    seen, pulse = account.seen, account.pulse
    return {
        "account": seen.name,
        "configured": seen.configured,
        "state": seen.state.name,
        "code": seen.state.code,
        "message": seen.state.message,
        "by": seen.state.by,
        "since_at_ms": seen.state.since_ms,
        "refused_run": seen.state.refused,
        "keep_going": seen.state.keep_going,
        "probe_at_ms": pulse.probe_at_ms,
        "rate_configured": account.rate_configured,
        "rate_effective": _rounded(account.rate_effective),
        "rate_by_hand": seen.rate.override,
        "rate_by": seen.rate.override_by,
        "rate_why": seen.rate.override_why,
        "rate_by_hand_at_ms": seen.rate.override_ms,
        "throttled_at_ms": seen.rate.throttled_ms if account.throttled else None,
        "rate_use": _rounded(account.rate_use),
        **_in_flight(seen.in_flight),
        "delivered_per_second": account.delivered_per_second,
        "delivered_trail": account.trail,
        "ready": seen.ready,
        "leased": seen.leased,
        "scheduled": seen.scheduled,
        "dead": seen.dead,
        "dead_bytes": seen.kept.bytes,
        "dead_kept_shares": {bound: round(share, 3) for bound, share in seen.kept_shares.items()},
        "dead_ending": seen.kept.ending,
        "dead_last_minute": pulse.dead_last_minute,
        "dead_last_hour": pulse.dead_last_hour,
        "oldest_age_seconds": seen.oldest_age,
        "last_error": _error(pulse.last_error),
        "books": seen.places,
        "books_gap": seen.gap,
        "otps": _otps(seen.otps),
    }


def _in_flight(found: InFlight | None) -> Mapping[str, object]:
    limited = found is not None and found.most is not None
    return {
        "in_flight": found.open if found and limited else None,
        "max_in_flight": found.most if found else None,
    }


def _otps(otps: Otps | None) -> Mapping[str, object] | None:
    if otps is None:
        return None
    hour, before = otps.hour, otps.yesterday
    none = Country()
    return {
        **_counts(otps.total, hour.values(), before.values()),
        "open": otps.open,
        "countries": {
            code: _counts(otps.countries.get(code, none), [hour.get(code, none)], [before.get(code, none)])
            for code in sorted({*otps.countries, *hour, *before})
        },
        "verified_late": otps.late,
        "unmatched": otps.unmatched,
        "unverified_reports": otps.unverified_reports,
        "notices_waiting": otps.waiting,
        "notice_lag_seconds": round(otps.lag, 3),
        "sent_gap": otps.sent_gap,
        "unverified_gap": otps.unverified_gap,
    }


def _counts(ever: Country, hour: Iterable[Country], before: Iterable[Country]) -> Mapping[str, object]:
    return {
        "sent": ever.sent,
        "verified": ever.verified,
        "closed": ever.closed,
        "closed_verified": ever.yes,
        "last_full_hour": _conversion(hour),
        "same_hour_yesterday": _conversion(before),
    }


def _conversion(countries: Iterable[Country]) -> Mapping[str, object]:
    found = Conversion.of(countries)
    return {
        "closed": found.closed,
        "closed_verified": found.verified,
        "conversion_rate": _rounded(found.rate),
    }


def _error(error: ErrorSeen | None) -> Mapping[str, object] | None:
    if error is None:
        return None
    return {"at_ms": error.at_ms, "class": error.result, "code": error.code, "message": error.message}


def _worker(worker: WorkerSeen, now_ms: int) -> dict[str, object]:
    return {
        "worker": worker.worker,
        "alive": worker.alive(now_ms),
        "host": worker.host,
        "pid": worker.pid,
        "leased": worker.held,
        "in_flight": worker.in_flight,
        "concurrency": worker.concurrency,
        "concurrency_wanted": worker.wanted,
        "left_to_others": worker.aside,
        "serves": worker.serves,
        "version": worker.version,
        "started_at_ms": worker.started_ms,
        "seen_at_ms": worker.seen_ms,
        "redis_ahead_seconds": worker.redis_ahead,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
