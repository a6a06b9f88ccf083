"""A worker's metrics and log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence

from redis.exceptions import RedisError

from config.logging import Sample, log_event
from providers.base import Outcome, Result
from tasks.accounts.reach import RouteHealth
from tasks.accounts.states import FLOWING, OPERATOR_STATES, State
from tasks.dead_letters.letter import Letter
from tasks.delivery import Delivery, Held
from tasks.fleet.epoch import Loss
from tasks.fleet.last_error import LastErrors
from tasks.queue.queue import Recovered
from tasks.settlement import Bury, Ending, Finish, Schedule, Settlement, Track
from tasks.wall import FAR_APART
from worker.metrics import Metrics
from worker.redis_fault import RedisFault
from worker.repeats import Repeats

logger = logging.getLogger("otpreport.worker")

QUIET = 2.0
"""Seconds without a failed call after which the next one is logged again."""

FIXED = 25.0
"""Seconds without a report after which an unusable key counts as fixed; some keys are checked every ten."""

NOTHING_FOLLOWS = "no task that was to follow it is sent"
NOT_OBEYED = {
    "result": "no result is written: send with ignore_result=True",
    "eta": "the time has no zone",
    "expires": "the time has no zone",
}
"""Why an option of a message is ignored, where it is not `NOTHING_FOLLOWS`."""


_DELIVERED, _DELIVERED_RESULT = Ending.DELIVERED, Result.DELIVERED  # Python 3.11 takes 80 ns to find a member


class WorkerObserver:
    """Count and log every attempt and every end; delivered attempts are logged by sample, failures always."""

    def __init__(self, metrics: Metrics, providers: Mapping[str, str], *, sample: float) -> None:
        self._metrics = metrics
        self._providers = providers
        self._sample = Sample(sample)
        self.redis_away = ""
        """Why Redis is of no use at the moment."""
        self._away_logged = False
        self._away = Repeats()
        self._unusable = Repeats()
        self._clock_off = False
        self._differences: Mapping[str, str] = {}
        self.last_progress = time.monotonic()
        self._states: dict[str, State] = {}
        self._aside: frozenset[str] = frozenset()
        self._logged_options: set[tuple[str, str]] = set()
        self.last_errors = LastErrors()

    def admitted(self, delivery: Delivery, seconds: float) -> None:
        """Note how long an event waited for its slot."""
        self._metrics.wait[delivery.leased.account].observe(seconds)

    def attempted(self, delivery: Delivery, outcome: Outcome, attempt: int, seconds: float) -> None:
        """Count and log one request."""
        account, result = delivery.leased.account, outcome.result
        self._metrics.attempts[account, result].value += 1
        self._metrics.duration[account].observe(seconds)
        delivered = result is _DELIVERED_RESULT
        if not delivered:
            self.last_errors.note(account, outcome)
        elif not self._sample.take() or not logger.isEnabledFor(logging.INFO):
            return
        log_event(
            logger,
            logging.INFO if delivered else logging.WARNING,
            "attempt",
            account=account,
            provider=self._providers[account],
            message_id=delivery.event.message_id,
            tag=delivery.tag,
            attempt=attempt,
            result=result.value,
            code=outcome.code,
            message=outcome.message,
            request_id=outcome.request_id,
            duration_ms=round(seconds * 1000),
            age_ms=_age_ms(delivery.occurred_at_ms),
        )

    def ended(self, held: Held, settlement: Settlement) -> None:
        """Count a finished event; log a dead one."""
        account, leased = held.account, held.leased
        replayed = leased.history.replayed_ms is not None
        if isinstance(settlement, Finish):  # `match` is six times as dear, and this is once a report
            self._metrics.events[account, settlement.ending].value += 1
            # how old a replayed one is says nothing of how fast events are reported
            if settlement.ending is _DELIVERED and not replayed and (since_ms := held.since_ms):
                self._metrics.age[account].observe(_age_ms(since_ms) / 1000)
        elif isinstance(settlement, Track):
            self._metrics.events[account, Ending.TRACKED].inc()
            self._ignored(held, settlement.ignored)
        elif isinstance(settlement, Bury):
            self._metrics.events[account, "dead"].inc()
            if replayed:
                self._metrics.replays_dead[account].inc()
            letter = Letter.parse(account, leased.tag, 0, settlement.letter, whole=False)
            log_event(
                logger,
                logging.WARNING,
                "dead letter",
                account=account,
                id=leased.tag,
                message_id=letter.message_id,
                reason=settlement.reason,
                code=letter.text("code"),
            )
        if held.ignored and not isinstance(settlement, Schedule):
            self._ignored(held, held.ignored)

    def _ignored(self, held: Held, options: Sequence[str]) -> None:
        """Count the ignored options of a finished event's message; log each one's first of an account."""
        account = held.account
        for option in options:
            self._metrics.ignored[account, option].inc()
            if (account, option) not in self._logged_options:
                self._logged_options.add((account, option))
                log_event(
                    logger,
                    logging.WARNING,
                    "message option ignored",
                    account=account,
                    option=option,
                    tag=held.tag,
                    reason=NOT_OBEYED.get(option, NOTHING_FOLLOWS),
                )

    def lost(self, held: Held) -> None:
        """Count a lost lease."""
        self._metrics.lost[held.account].inc()

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """Count and log an internal error, with its traceback."""
        self._metrics.faults.inc()
        log_event(
            logger,
            logging.ERROR,
            "internal error",
            account=delivery.account,
            tag=delivery.tag,
            error=repr(error),
        )

    def redis(self, error: RedisError | OSError | None, **more: object) -> None:
        """Log failing calls to Redis, at first and then now and then, and once their recovery."""
        if error is not None:
            self._metrics.redis_errors.inc()
            fault = RedisFault.of(error)
            if (times := self._away.happened(fault.reason)) is not None:
                self._away_logged = True
                log_event(logger, logging.WARNING, fault.event, reason=fault.reason, times=times, **more)
            self.redis_away = fault.sentence
            return
        if self._away_logged:
            self._away_logged = False
            log_event(logger, logging.INFO, "redis reachable again")
        self.redis_away = ""
        self._away.over(quiet=QUIET)

    def faults(self, faults: Sequence[str]) -> None:
        """Log unusable keys, at first and then now and then; `progress` logs their recovery."""
        for fault in faults:
            if (times := self._unusable.happened(fault)) is not None:
                key, _, reason = fault.partition(": ")
                log_event(logger, logging.ERROR, "redis key unusable", key=key, reason=reason, times=times)

    def recovered(self, found: Recovered) -> None:
        """Count and log events recovered from dead workers."""
        self._metrics.recovered.inc(found.taken_back + found.orphans)
        log_event(logger, logging.WARNING, "events recovered", events=found.taken_back, orphans=found.orphans)

    @property
    def operator_states(self) -> str:
        """The accounts an operator paused or sheds, as this worker has seen."""
        chosen = (
            (account, state.name) for account, state in self._states.items() if state.name in OPERATOR_STATES
        )
        return ", ".join(f"{account} {name}" for account, name in sorted(chosen))

    def memory_lost(self, loss: Loss) -> None:
        """Log that Redis came back empty or with an older state, and how far back that is."""
        back = None if loss.left_ms is None else round((loss.at_ms - loss.left_ms) / 1000, 1)
        log_event(
            logger,
            logging.ERROR,
            "redis lost data",
            left="nothing" if back is None else "an older state",
            seconds_back=back,
            operator_states_before=loss.operator_states,
        )

    def differences(self, found: Mapping[str, str]) -> None:
        """Log for which accounts live workers have different settings, at each change."""
        for account in sorted({*found, *self._differences}):
            before, now = self._differences.get(account), found.get(account)
            if now and now != before:
                log_event(
                    logger, logging.WARNING, "workers differ in their settings", account=account, settings=now
                )
            elif before and not now:
                log_event(logger, logging.INFO, "workers have the same settings again", account=account)
        self._differences = found

    def clock(self, redis_ahead: float) -> None:
        """Log once when this worker's clock and Redis' differ, and once when they no longer do."""
        off = abs(redis_ahead) > FAR_APART
        if off != self._clock_off:
            event = "clock is off" if off else "clock is right again"
            log_event(logger, logging.WARNING, event, redis_ahead_seconds=round(redis_ahead))
        self._clock_off = off

    def removed(self, account: str, bound: str, letters: int) -> None:
        """Count and log removed dead letters; for an account that is not configured only log them."""
        if account in self._providers:
            self._metrics.removed[account, bound].inc(letters)
        log_event(
            logger, logging.WARNING, "dead letters removed", account=account, bound=bound, letters=letters
        )

    def states(self, states: Mapping[str, State]) -> None:
        """Log every change of an account's state."""
        for account, state in states.items():
            before = self._states.get(account, State())
            if before.name != state.name:
                level = logging.INFO if state.name in FLOWING else logging.ERROR
                log_event(
                    logger,
                    level,
                    f"account {state.name}",
                    account=account,
                    code=state.code,
                    message=state.message,
                    by=state.by,
                )
            self._states[account] = state

    def aside(self, routes: Mapping[str, RouteHealth]) -> None:
        """Log once for each account that is left to other workers, and once when it is served again."""
        for account in routes.keys() - self._aside:
            log_event(
                logger,
                logging.ERROR,
                "account left to others",
                account=account,
                message=routes[account].message,
                reason="this worker can't reach its provider, while other workers can",
            )
        for account in self._aside - routes.keys():
            log_event(logger, logging.INFO, "account served again", account=account)
        self._aside = frozenset(routes)
        for account, gauge in self._metrics.aside.items():
            gauge.set(account in routes)

    def progress(self) -> None:
        """Record that the worker completed a round of its loop."""
        self.last_progress = time.monotonic()
        self._metrics.progress.set(time.time())
        for fault in self._unusable.over(quiet=FIXED):
            log_event(logger, logging.INFO, "redis key usable again", key=fault.partition(": ")[0])


def _age_ms(since_ms: int) -> int:
    return time.time_ns() // 1_000_000 - since_ms
