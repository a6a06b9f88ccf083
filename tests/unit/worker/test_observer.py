"""What a worker notes of its attempts."""

import pytest

from providers.base import Outcome, Result
from tasks.delivery import Delivery, Leased
from tasks.history import History
from tests.support.events import verification
from worker.metrics import Metrics
from worker.observer import WorkerObserver


@pytest.mark.parametrize("result", list(Result))
def test_every_attempt_that_failed_is_the_last_error(result: Result) -> None:
    """One that was delivered is none, and leaves the last error as it is."""
    observer = WorkerObserver(Metrics({"tencent": "tencent"}), {"tencent": "tencent"}, sample=0.0)
    delivery = Delivery(Leased("tencent", "tencent:w:1", 0, 0, 0, History(), b""), verification())
    observer.attempted(delivery, Outcome(result, "Code", "why"), 1, 0.05)
    observer.attempted(delivery, Outcome(Result.DELIVERED), 1, 0.05)
    noted = {account: (error.result, error.code) for account, error in observer.last_errors.take().items()}
    assert noted == ({} if result is Result.DELIVERED else {"tencent": (result.value, "Code")})
