"""The way to Redis: a few connections, opened and checked in the background, never by a caller."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from otpreport.forks import on_fork
from otpreport.push import Unavailable

if TYPE_CHECKING:
    from otpreport.connection import Connection, Place

_log = logging.getLogger("otpreport")

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 1.0
"""Seconds between attempts to connect; the second is also how late a recovered Redis may be noticed."""

FATAL = ("READONLY", "NOAUTH", "LOADING", "MASTERDOWN", "NOREPLICAS")
"""Replies after which another connection may do better: a master that is none any more, a restart, ..."""

_DOUBTFUL_AFTER = 1.0
"""Seconds without a write after which a balancer or a NAT may have forgotten a connection without a word."""

_ASKED_EVERY = 1.0
"""Seconds between two questions to the sentinels: a master that was replaced may live on, and take writes in vain."""

_WRONG_URL = re.compile(
    "DB index is out of range|Protocol error|username-password|Authentication required|NOAUTH|ssl_.* is not there"
)
"""What a Redis says, or what is no Redis, that the URL names wrongly: no outage that passes."""

_MAY_HAVE_ARRIVED = "no answer in time (the write may have arrived)"
_NOT_IN_TIME = "no connection to Redis in time"


class Link:
    """Connections to one Redis, shared by threads; callers wait for them only until their own deadline.

    While Redis is known to be away, callers fail at once; only the background thread, `otpreport-link`, tries to
    reconnect. With `find_master` it also leaves a master that is none any more. Deadlines are seconds of
    `time.monotonic()`.
    """

    meanwhile = ""
    """Where events wait then, for the log."""

    log_pause = 30.0
    """Seconds between two lines that Redis went away: a slow one goes and comes many times a minute."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        limit: int = 16,
        find_master: Callable[[], Place] | None = None,
    ) -> None:
        self._connect = connect
        self._limit = limit
        self._find_master = find_master
        on_fork(self)
        self.after_fork()

    def after_fork(self) -> None:
        """Start afresh: in a child the thread is gone and the connections are the parent's."""
        self._lock = threading.RLock()  # a signal handler may report, or close, in the middle
        self._available = threading.Condition(self._lock)  # callers wait here
        self._needed = threading.Condition(self._lock)  # the background thread waits here
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting = 0
        self._wanted = False  # one, although nobody waits for it yet
        self._away = ""
        self._master: Place | None = None
        self._closed = False
        self._trusted = True
        self._failed_again = False
        self._failing = False
        self._delay = _FIRST_DELAY
        self._away_logged = False
        self._log_again_at = 0.0
        self._thread: threading.Thread | None = None

    def push(self, commands: bytes, count: int, deadline: float) -> list[str]:
        """Send LPUSH commands; return "" or why Redis refused, for each of `count`; Unavailable by the deadline."""
        now = time.monotonic()
        if now >= deadline:
            raise Unavailable("no time left")
        connection = self._borrow(deadline)
        idle, connection.used_at = now - connection.used_at, now
        if idle > _DOUBTFUL_AFTER:
            return self._push_over_doubtful(connection, commands, count, deadline)
        return self._push_over(connection, commands, count, deadline)

    def _push_over(self, connection: Connection, commands: bytes, count: int, deadline: float) -> list[str]:
        try:
            refusals = connection.push(commands, count, deadline)
        except TimeoutError:
            self._discard(connection, _MAY_HAVE_ARRIVED)
            raise Unavailable(_MAY_HAVE_ARRIVED) from None
        except OSError as error:
            reason = f"connection lost (the write may have arrived): {error}"
            self._discard(connection, reason)
            raise Unavailable(reason) from None
        except BaseException:
            self._discard(connection, "interrupted while writing")
            raise
        self._give_back(connection, refusals)
        return refusals

    def _push_over_doubtful(
        self, connection: Connection, commands: bytes, count: int, deadline: float
    ) -> list[str]:
        """Write over a connection that was long idle; without an answer in half of the time, over a new one.

        A write that arrived all the same is there twice then, and is sent once.
        """
        now = time.monotonic()
        try:
            refusals = connection.push(commands, count, now + (deadline - now) / 2)
        except OSError:
            self._forget(connection)
            try:
                return self._push_over(self._borrow(deadline), commands, count, deadline)
            except Unavailable as fault:
                raise Unavailable(f"{fault.reason}; an earlier write may have arrived") from None
        except BaseException:
            self._discard(connection, "interrupted while writing")
            raise
        self._give_back(connection, refusals)
        return refusals

    def warm_up(self, seconds: float) -> bool:
        """Open a connection in advance; return whether one is open within `timeout` seconds."""
        with self._lock:
            if self._thread is None:
                self._start_thread()
            self._wanted = not self._open
            self._needed.notify()
            self._available.wait_for(lambda: self._open or self._away, seconds)
            return self._open > 0

    def opens(self, seconds: float) -> bool:
        """Wait for a connection that is being opened, unless the last attempt failed; return whether one works."""
        with self._lock:
            if self._thread is not None:
                self._available.wait_for(lambda: self._failing or self._works(), seconds)
            return self._works()

    def _works(self) -> bool:
        return self._open > 0 and not self._away

    def wait_until_up(self, seconds: float) -> bool:
        """Wait while Redis is known to be away; False when it still is after that time."""
        with self._lock:
            if self._thread is None:
                self._start_thread()
            self._available.wait_for(lambda: self._closed or not self._away, seconds)
            return not self._away

    def close(self) -> None:
        """Close the connections; later calls are refused."""
        with self._lock:
            self._closed = True
            self._away = "the reporter is closed"
            self._drop_idle()
            self._available.notify_all()
            self._needed.notify_all()

    # What callers do.

    def _borrow(self, deadline: float) -> Connection:
        with self._lock:
            if self._thread is None:
                self._start_thread()
            while True:
                if self._away:
                    raise Unavailable(self._away)
                if connection := self._take_idle():
                    return connection
                self._wait_for_one(deadline)

    def _take_idle(self) -> Connection | None:
        """Return an idle connection that is still open, to the master, the last used first."""
        while self._idle:
            connection = self._idle.pop()
            if connection.place == self._master and connection.is_quiet():
                return connection
            self._open -= 1
            connection.close()
        return None

    def _wait_for_one(self, deadline: float) -> None:
        self._waiting += 1
        self._needed.notify()
        try:
            in_time = self._available.wait(deadline - time.monotonic())
        finally:
            self._waiting -= 1
        if in_time:
            return
        if self._open:
            raise Unavailable("all connections to Redis are busy")
        # Nobody shall wait for this attempt to connect again: it has had its time.
        self._set_away(_NOT_IN_TIME)
        raise Unavailable(self._away)

    def _give_back(self, connection: Connection, refusals: Sequence[str]) -> None:
        for refusal in refusals:
            if refusal and refusal.startswith(FATAL):
                self._discard(connection, refusal)
                return
        with self._lock:
            if self._away:
                self._open -= 1
                connection.close()
            else:
                if not self._trusted:
                    self._trust()
                self._idle.append(connection)
                if self._waiting:
                    self._available.notify()

    def _trust(self) -> None:
        """Forget the faults: a write went well. That Redis answers a PING does not say that it takes writes."""
        self._trusted = True
        self._delay = _FIRST_DELAY
        self._needed.notify()  # so that it logs it

    def _discard(self, connection: Connection, reason: str) -> None:
        """Close a broken connection, and the idle ones with it: what broke one has most likely broken all."""
        connection.close()
        with self._lock:
            self._open -= 1
            self._drop_idle()
            self._failed_again = not self._trusted
            self._set_away(reason)

    def _forget(self, connection: Connection) -> None:
        """Close a connection that was idle for too long, and the others of that age; Redis may be well."""
        connection.close()
        oldest = time.monotonic() - _DOUBTFUL_AFTER
        with self._lock:
            self._open -= 1
            young = [one for one in self._idle if one.used_at > oldest]
            old = [one for one in self._idle if one.used_at <= oldest]
            self._open -= len(old)
            self._idle = young
        for one in old:
            one.close()

    def _drop_idle(self) -> None:
        while self._idle:
            self._open -= 1
            self._idle.pop().close()

    def _set_away(self, reason: str) -> None:
        self._away = self._away or reason
        self._trusted = False
        self._available.notify_all()
        self._needed.notify()

    def _start_thread(self) -> None:
        if self._closed:
            return
        thread = threading.Thread(target=self._run, name="otpreport-link", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the interpreter is shutting down, or no more threads
            raise Unavailable(f"no thread to connect with: {error}") from None
        self._thread = thread

    # What the background thread does; it does the logging, too: a slow log handler holds no caller.

    def _run(self) -> None:
        while self._wait_until_needed():
            try:
                connection = self._connect()
            except (Unavailable, OSError) as error:
                self._failed(str(error))
            except Exception as error:
                _log.exception("unexpected error while connecting to Redis")
                self._delay = _LONGEST_DELAY
                self._failed(repr(error))
            else:
                self._opened(connection)

    def _wait_until_needed(self) -> bool:
        """Wait until a connection is to be opened; False once the link is closed."""
        needed = False
        while not needed:
            with self._lock:
                happened = self._needed.wait_for(
                    lambda: self._closed or self._is_needed() or self._is_back(),
                    self._find_master and _ASKED_EVERY,
                )
                if self._closed:
                    return False
                needed, away, back = self._is_needed(), self._away, self._is_back()
            self._log_change(away, back)
            if self._find_master and self._open and not happened:
                self._follow(self._find_master)
        self._pause_after_a_trial()
        return not self._closed

    def _is_needed(self) -> bool:
        if self._away or self._wanted:
            return True
        return self._waiting > len(self._idle) and self._open < self._limit

    def _is_back(self) -> bool:
        return self._away_logged and self._trusted

    def _log_change(self, away: str, back: bool) -> None:
        """Log that Redis went or came back, each once; again only after a pause."""
        if back:
            self._away_logged = False
            _log.info("Redis accepts otpreport events again")
        elif away and not self._away_logged and (now := time.monotonic()) >= self._log_again_at:
            self._away_logged, self._log_again_at = True, now + self.log_pause
            _log.warning("Redis does not accept otpreport events: %s%s%s", away, _fix(away), self.meanwhile)

    def _follow(self, find_master: Callable[[], Place]) -> None:
        """Learn who the master is, so that connections to another are used no more; without an answer who it was."""
        try:
            master = find_master()
        except (Unavailable, OSError):
            return
        with self._lock:
            self._master = master

    def _opened(self, connection: Connection) -> None:
        with self._lock:
            if self._closed:
                connection.close()
                return
            self._away = ""
            self._failing = False
            self._wanted = False
            self._open += 1
            self._master = connection.place
            self._idle.append(connection)
            self._available.notify_all()
            if self._trusted:
                self._delay = _FIRST_DELAY

    def _failed(self, reason: str) -> None:
        """Fail the waiting callers, unless other connections still work, and pause."""
        with self._lock:
            self._failing = True
            if not self._open:
                if self._away == _NOT_IN_TIME:  # now it is known why
                    self._away = ""
                self._set_away(reason)
            self._pause()

    def _pause_after_a_trial(self) -> None:
        """Pause where a new connection, too, served no write: a replica, a master without replicas, ..."""
        with self._lock:
            if self._failed_again:
                self._failed_again = False
                self._pause()

    def _pause(self) -> None:
        """Wait, twice as long each time until a write goes well."""
        end = time.monotonic() + self._delay * random.uniform(0.5, 1.0)  # noqa: S311 - spreads, hides nothing
        self._delay = min(_LONGEST_DELAY, 2 * self._delay)
        while not self._closed and (left := end - time.monotonic()) > 0:
            self._needed.wait(left)


def _fix(reason: str) -> str:
    """Say what to correct where waiting will not help."""
    return ": check redis_url" if _WRONG_URL.search(reason) else ""
