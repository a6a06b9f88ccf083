from worker.quarantine import DRAIN_TIMEOUT, MIN_TURN, Quarantine

STEP = 0.02


class Worker:
    """A worker that needs `drain` seconds to get empty and `each` seconds for a suspect."""

    def __init__(self, suspects: int, *, drain: float = 0.0, each: float = 0.05) -> None:
        self.quarantine = Quarantine()
        self.suspects, self.drain, self.each = suspects, drain, each
        self.now = 100.0
        self.empty_at = self.busy_until = self.now
        self.shut: list[bool] = []

    def go(self, seconds: float) -> None:
        """Go round the loop for so long; `shut` notes whether the others had to wait."""
        for _ in range(round(seconds / STEP)):
            self.step()

    def step(self) -> None:
        """Go round once."""
        self.now += STEP
        shut = self.quarantine.in_force
        self.shut.append(shut)
        if not shut:
            self.empty_at = self.now + self.drain
        elif self.suspects and self._may_take():
            self.suspects -= 1
            self.busy_until = self.now + self.each
        self.quarantine.observe(self.suspects, self.now, alone=self.now < self.busy_until)

    def _may_take(self) -> bool:
        is_empty = self.now >= max(self.empty_at, self.busy_until)
        return is_empty and self.quarantine.takes_suspects(self.now)


def test_without_suspects_nobody_waits() -> None:
    """The common case: no suspect, no turn."""
    worker = Worker(0)
    worker.go(10)
    assert not any(worker.shut)


def test_suspects_get_turns_and_so_do_the_others() -> None:
    """With suspects all the time, they and the others have about half of the time each."""
    worker = Worker(10_000)
    worker.go(60)
    assert 0.4 < sum(worker.shut) / len(worker.shut) < 0.6
    assert worker.suspects < 10_000


def test_a_turn_ends_with_the_last_suspect() -> None:
    """Nobody waits for a suspect that is no longer there."""
    worker = Worker(1)
    worker.go(3)
    assert worker.suspects == 0
    assert sum(worker.shut) * STEP < MIN_TURN / 2


def test_the_others_wait_until_a_suspect_is_done() -> None:
    """While a suspect is alone in the worker, nothing else is leased, however long it takes."""
    worker = Worker(1, each=7.0)
    worker.go(6)
    assert all(worker.shut[5:])
    worker.go(3)
    assert not worker.shut[-1]


def test_a_slow_provider_starves_no_suspect() -> None:
    """Where it takes the worker longer than a turn to get empty, suspects come nevertheless."""
    worker = Worker(3, drain=10.0)
    worker.go(90)
    assert worker.suspects == 0


def test_a_worker_that_never_gets_empty_gives_up_its_turn() -> None:
    """The others are not held up for good by a suspect that can't be had."""
    worker = Worker(1, drain=1e9)
    worker.go(4 * DRAIN_TIMEOUT)
    assert 0.4 < sum(worker.shut) / len(worker.shut) < 0.6
