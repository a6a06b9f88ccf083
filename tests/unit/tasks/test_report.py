import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import cast

import orjson
import pytest

from otpreport import Verification
from providers import Answer, Outcome, Result, SignedRequest
from tasks.delivery import Delivery, Leased, LeasePurpose
from tasks.history import History, Unsent
from tasks.limiter.admission import Refusal, Slot
from tasks.limiter.permits import Permits
from tasks.queue.breaker import Calls
from tasks.report import (
    COPY_DELAY,
    STOPPED_DELAY,
    ActiveAccount,
    How,
    InDoubt,
    NotSent,
    Report,
    Reporting,
    TooLate,
    abandon,
)
from tasks.retry import Policy, Reason
from tasks.settlement import Bury, Ending, Finish, Schedule, Settlement
from tests.support.leased import NOW_MS, attempts, delivery, event
from tests.support.report_twins import (
    Alibabalike,
    Gate,
    Http,
    Nonceless,
    Observer,
    Pathlike,
    Provider,
    ProviderClock,
    Silent,
    SilentHttp,
    SilentStates,
    States,
    reported,
    says,
    ticking,
)

DELIVERED = says(Result.DELIVERED)
NO_NAME = Outcome(Result.NOT_SENT, "not_sent", "no name")


@dataclass
class World:
    """A report among twins."""

    replies: list[Answer | Exception] = field(default_factory=lambda: [DELIVERED])
    network: Callable[[list[Answer | Exception]], Http] = Http
    gate: Gate = field(default_factory=Gate)
    states: States = field(default_factory=States)
    wall: ProviderClock = field(default_factory=ProviderClock)
    observer: Observer = field(default_factory=Observer)
    calls: Calls = field(default_factory=Calls)
    provider: Provider = field(default_factory=Provider)
    policy: Policy = field(default_factory=Policy)
    is_aside: Callable[[str], bool] = lambda _: False
    from_sending: bool = False
    automatic: bool = True

    def __post_init__(self) -> None:
        nonces = count(1)
        self.http = self.network(self.replies)
        account = ActiveAccount(
            "tencent", self.provider, self.http, self.policy, 3600.0, self.from_sending, self.automatic
        )
        self.report = Report(
            {"tencent": account},
            admission=self.gate,
            states=self.states,
            wall=self.wall,
            observer=self.observer,
            calls=self.calls,
            monotonic=ticking(),
            jitter=lambda: 0.5,
            nonce=lambda: f"nonce-{next(nonces)}",
            is_aside=self.is_aside,
        )

    def settle(self, of: Delivery | None = None) -> Settlement | None:
        """Report a delivery and return how its lease ends."""
        return asyncio.run(self.reported(of or delivery()))

    async def reported(self, of: Delivery) -> Settlement | None:
        """Do the same on a running loop."""
        return await reported(self.report, of)


async def cut_off(world: World, of: Delivery) -> Settlement | None:
    """Report a delivery, and abandon it as soon as it waits for something."""
    return await reported(world.report, of, lambda reporting: world.report.abandon(reporting, now_ms=NOW_MS))


def stored(settlement: Settlement | None) -> History:
    """Return the history that a retry stores."""
    assert isinstance(settlement, Schedule)
    assert settlement.record is not None
    return Leased.parse("tencent", "tencent:w:1", settlement.record).history


def letter(settlement: Settlement | None) -> dict[str, object]:
    """Return the story of a dead letter."""
    assert isinstance(settlement, Bury)
    story: dict[str, object] = orjson.loads(settlement.letter.split(b"\n", 1)[0])
    return story


def test_a_delivered_event_is_done() -> None:
    """One request, signed for now and a fresh nonce, and the event is delivered."""
    world = World()
    assert world.settle() == Finish(Ending.DELIVERED)
    request = world.http.requests[0]
    assert request.headers == (("x-time", f"{NOW_MS / 1000:.3f}"), ("x-nonce", "nonce-1"))
    assert world.observer.attempts == [(Result.DELIVERED, 1)]
    assert world.observer.waits == [0.25]
    assert world.states.calls == []


def test_a_nonce_is_made_only_where_one_is_signed() -> None:
    """Randomness costs a system call for each report."""
    world = World(provider=Nonceless())
    assert world.settle() == Finish(Ending.DELIVERED)
    assert dict(world.http.requests[0].headers)["x-nonce"] == ""


def test_new_keys_sign_what_waited_for_its_slot() -> None:
    """Keys that change while an event waits are those it is signed with; the old ones are not used again."""
    renewed = Provider("https://renewed.example/")

    class Renewing(Gate):
        """A door behind which the keys change."""

        def enter(self, delivery: Delivery, then: Callable[[Slot | Refusal], None]) -> None:
            world.report.renew("tencent", renewed)
            super().enter(delivery, then)

    world = World(gate=Renewing())
    assert world.settle() == Finish(Ending.DELIVERED)
    assert [request.url for request in world.http.requests] == ["https://renewed.example/"]


def test_a_request_under_way_is_read_with_the_keys_that_signed_it() -> None:
    """Its answer may quote the old secrets, and only the old provider masks them."""

    class Reading(Provider):
        """A provider that notes what it reads."""

        read = 0

        def outcome(self, answer: Answer, event: Verification) -> Outcome:
            self.read += 1
            return super().outcome(answer, event)

    class Rotating(Http):
        """A network during whose silence the keys change."""

        async def send(self, request: SignedRequest, send_by: float, /) -> Answer:
            world.report.renew("tencent", new)
            return await super().send(request, send_by)

    old, new = Reading(), Reading()
    world = World(provider=old, network=Rotating)
    assert world.settle() == Finish(Ending.DELIVERED)
    assert (old.read, new.read) == (1, 0)
    assert world.settle(delivery()) == Finish(Ending.DELIVERED)
    assert (old.read, new.read) == (1, 1)


def test_a_connection_that_takes_too_long_waits_for_another_slot() -> None:
    """Nothing was sent, so nothing is counted: no attempt, no call for the breaker."""
    world = World([TooLate(), TooLate(), says(Result.DELIVERED)])
    assert world.settle() == Finish(Ending.DELIVERED)
    assert world.gate.entered == 3
    assert world.observer.attempts == [(Result.DELIVERED, 1)]
    assert len(world.observer.waits) == 1
    assert [group.calls for group in world.calls.take().values()] == [1]


@pytest.mark.parametrize(
    ("refusal", "settlement"),
    [
        (Refusal.LEASE_LOST, None),
        (Refusal.DUPLICATE, Finish(Ending.DUPLICATE)),
        (Refusal.NOT_RUNNING, Schedule(0.0)),
        (Refusal.COPY_IN_FLIGHT, Schedule(COPY_DELAY)),
    ],
)
def test_who_may_not_go_sends_nothing(refusal: Refusal, settlement: Settlement | None) -> None:
    """Each refusal has its end, uses no attempt, and nothing reaches the provider."""
    world = World(gate=Gate([refusal]))
    assert world.settle() == settlement
    assert world.http.requests == []
    assert not world.observer.attempts
    assert not world.observer.waits


@pytest.mark.parametrize("refusal", list(Refusal))
def test_a_refused_event_is_not_in_flight(refusal: Refusal) -> None:
    """An event that was refused was not sent, and a worker's end leaves no doubt about it."""
    world, refused = World(gate=Gate([refusal])), delivery()
    world.settle(refused)
    assert not refused.sending


@pytest.mark.parametrize("result", [Result.TRANSIENT, Result.UNKNOWN, Result.DOUBTFUL])
def test_a_failure_is_tried_again(result: Result) -> None:
    """An attempt is used, told with the provider's words, and the event waits in Redis."""
    world = World([says(result)])
    settlement = world.settle(delivery(history=attempts(Result.TRANSIENT)))
    tried = stored(settlement).attempts[1]
    assert settlement == Schedule(1.0, settlement.record if isinstance(settlement, Schedule) else None)
    assert (tried.result, tried.code, tried.request_id, tried.at_ms) == (result, "Code", "req", NOW_MS)
    assert world.observer.attempts == [(result, 2)]


def test_a_permanent_fault_is_a_dead_letter() -> None:
    """An event that the provider refuses for good is buried at once, with its words."""
    story = letter(World([says(Result.PERMANENT)]).settle())
    assert (story["reason"], story["why"], story["code"]) == ("permanent", "text", "Code")
    assert story["event"] == event().to_wire()


def test_attempts_used_up_are_a_dead_letter() -> None:
    """The last attempt that fails ends the event, with all of them in its letter."""
    world = World([says(Result.TRANSIENT)], policy=Policy(max_attempts=3))
    story = letter(world.settle(delivery(history=attempts(Result.UNKNOWN, Result.TRANSIENT))))
    assert (story["reason"], story["in_doubt"]) == ("exhausted", True)
    rows = cast("list[dict[str, object]]", story["attempts"])
    assert [row["class"] for row in rows] == ["unknown", "transient", "transient"]


def test_throttled_slows_the_group_and_waits() -> None:
    """The group's rate steps down for all workers; the event waits and has used no attempt."""
    world = World([says(Result.THROTTLED)])
    assert world.settle() == Schedule(1.0)
    assert world.states.calls == ["slow_down tencent 0"]


def test_an_account_fault_stops_the_account() -> None:
    """The account stops with the provider's code; the event waits behind the others, no attempt used."""
    world = World([says(Result.ACCOUNT)])
    assert world.settle() == Schedule(STOPPED_DELAY)
    assert world.states.calls == ["stop tencent Code"]


def test_a_wrong_clock_is_corrected_once() -> None:
    """The clock is set by the answer's date, and the event signed afresh goes through the door again."""
    world = World([says(Result.CLOCK, date="1767226200"), DELIVERED])
    assert world.settle() == Finish(Ending.DELIVERED)
    first, second = (dict(request.headers) for request in world.http.requests)
    assert (first["x-nonce"], second["x-nonce"]) == ("nonce-1", "nonce-2")
    assert second["x-time"] == "1767226200.000"
    assert world.gate.entered == 2, "the second request has a slot of its own"
    assert world.observer.attempts == [(Result.CLOCK, 1), (Result.DELIVERED, 1)]


def test_a_clock_that_stays_wrong_is_an_account_fault() -> None:
    """After one correction a second clock fault stops the account: no endless correcting."""
    world = World([says(Result.CLOCK, date="1767226200")])
    assert world.settle() == Schedule(STOPPED_DELAY)
    assert len(world.http.requests) == 2
    assert world.states.calls == ["stop tencent Code"]


def test_a_clock_fault_without_a_date_is_an_account_fault() -> None:
    """Where the answer does not say what time it is, nothing is sent again."""
    world = World([says(Result.CLOCK)])
    assert world.settle() == Schedule(STOPPED_DELAY)
    assert len(world.http.requests) == 1


def test_a_corrected_event_is_not_in_flight_while_it_waits() -> None:
    """Between the refused request and the next one nothing is in doubt."""
    world, corrected = (
        World([says(Result.CLOCK, date="1767226200")], gate=Gate([None, Refusal.NOT_RUNNING])),
        delivery(),
    )
    assert world.settle(corrected) == Schedule(0.0)
    assert not corrected.sending


def test_no_answer() -> None:
    """A request that was sent and has no answer used an attempt, and leaves the event in doubt."""
    history = stored(World([InDoubt("ReadTimeout: ")]).settle())
    assert [attempt.result for attempt in history.attempts] == [Result.UNKNOWN]
    assert history.in_doubt


def test_what_never_left_uses_no_attempt() -> None:
    """However often nothing could leave, the event is not used up; it waits longer each time, and is not in doubt."""
    history, delays = History(), list[float]()
    for _ in range(40):
        world = World([NotSent("ConnectError: refused")], policy=Policy(max_attempts=1))
        settlement = world.settle(delivery(history=history))
        history = stored(settlement)
        assert isinstance(settlement, Schedule)
        delays.append(settlement.delay)
        assert world.observer.attempts == [(Result.NOT_SENT, 1)]
    assert history == History(unsent=Unsent(40, NOW_MS, "not_sent", "ConnectError: refused"))
    assert delays[:3] == [delays[0], 2 * delays[0], 4 * delays[0]]
    assert delays == sorted(delays)
    assert not history.in_doubt


def test_what_only_this_machine_keeps_back_is_for_the_others_at_once() -> None:
    """While other workers get through the event waits for nobody, and nothing is noted: it was not the event."""
    world = World([NotSent("no name"), says(Result.TRANSIENT)], is_aside=lambda account: account == "tencent")
    before = attempts(Result.TRANSIENT).with_unsent(NO_NAME, at_ms=1)
    assert world.settle(delivery(history=before)) == Schedule(0.0)
    assert len(stored(world.settle(delivery(history=before))).attempts) == 2, "this one left"


def test_the_letter_of_an_event_that_never_left_says_why() -> None:
    """Once it is too old it is a dead letter, `expired`, with the last thing that kept it."""
    unsent = Unsent(7, NOW_MS - 1000, "not_sent", "ConnectError: no route to host")
    old = event(at_ms=NOW_MS - 3_600_001)
    story = letter(
        World().settle(delivery(old, history=attempts(Result.TRANSIENT).with_unsent(NO_NAME, at_ms=1)))
    )
    assert (story["class"], story["code"], story["message"]) == ("not_sent", "not_sent", "no name")
    story = letter(World().settle(delivery(old, history=History(unsent=unsent))))
    assert (story["reason"], story["class"], story["code"]) == ("expired", "not_sent", "not_sent")
    assert story["message"] == unsent.message
    assert story["why"] == f"older than max_age; nothing left: {unsent.message}"


def test_the_letter_of_a_probe_that_never_left_says_why() -> None:
    """Also where the only event of an account is its probe, and nothing of it ever left."""
    probe = delivery(event(at_ms=NOW_MS - 10**8), purpose=LeasePurpose.PROBE)
    story = letter(World([NotSent("ConnectError: refused")]).settle(probe))
    assert (story["reason"], story["class"]) == ("expired", "not_sent")
    assert story["message"] == "ConnectError: refused"


def test_an_event_that_could_not_leave_is_no_fresh_failure() -> None:
    """One event that its machine keeps back again and again speaks for itself alone, as one that failed before does."""
    world = World([NotSent("refused"), NotSent("refused")])
    history = stored(world.settle())
    world.settle(delivery(history=history))
    groups = world.calls.take().values()
    assert (sum(group.failed for group in groups), sum(group.fresh for group in groups)) == (2, 1)


def test_an_event_that_is_too_old_is_a_dead_letter() -> None:
    """Past `max_age` an event is buried without a request; a second before it goes."""
    world = World()
    story = letter(world.settle(delivery(event(at_ms=NOW_MS - 3_600_001))))
    assert story["reason"] == "expired"
    assert world.http.requests == []
    assert world.settle(delivery(event(at_ms=NOW_MS - 3_599_000))) == Finish(Ending.DELIVERED)


@pytest.mark.parametrize(
    ("sent_ms", "expired"), [(NOW_MS - 3_600_001, True), (NOW_MS - 3_599_000, False), (None, False)]
)
def test_a_deadline_counts_from_the_sending(sent_ms: int | None, *, expired: bool) -> None:
    """Where a provider has a deadline, the age is that of the message, if it is known; elsewhere that of the entry."""
    late = delivery(event(at_ms=NOW_MS - 1000, sent_ms=sent_ms))
    world = World(from_sending=True)
    settlement = world.settle(late)
    assert isinstance(settlement, Bury) is expired
    assert World().settle(late) == Finish(Ending.DELIVERED)
    old = delivery(event(at_ms=NOW_MS - 3_600_001))
    assert letter(world.settle(old))["reason"] == "expired"
    replayed = delivery(event(sent_ms=NOW_MS - 10**8), history=History(replayed_ms=NOW_MS - 1000))
    assert world.settle(replayed) == Finish(Ending.DELIVERED)


def test_what_no_request_can_name_is_a_dead_letter() -> None:
    """An id that no URL can hold is refused before anything is sent, and is no fault of the account."""
    world = World(provider=Pathlike())
    story = letter(world.settle(delivery(event(".."))))
    assert (story["reason"], story["attempts"]) == ("permanent", [])
    assert "no URL" in str(story["why"])
    assert (world.http.requests, world.states.calls, world.observer.attempts) == ([], [], [])
    assert world.settle(delivery(event("..."))) == Finish(Ending.DELIVERED)


def test_an_absurd_date_makes_no_event_old() -> None:
    """A provider whose clock is a year ahead gets its time, but the events are not too old for that."""
    world = World([says(Result.CLOCK, date=str(NOW_MS / 1000 + 3e7)), says(Result.DELIVERED)])
    assert world.settle() == Finish(Ending.DELIVERED)
    assert world.settle() == Finish(Ending.DELIVERED)


def test_a_replay_makes_an_event_young() -> None:
    """The age of a replayed event counts from its replay."""
    old = delivery(event(at_ms=NOW_MS - 10**8), history=History(replayed_ms=NOW_MS - 1000))
    assert World().settle(old) == Finish(Ending.DELIVERED)


def test_a_probe_is_never_too_old() -> None:
    """When an account stood still for longer than `max_age`, its probe asks the provider nevertheless."""
    world = World()
    assert world.settle(delivery(event(at_ms=NOW_MS - 10**8), purpose=LeasePurpose.PROBE)) == Finish(
        Ending.DELIVERED
    )
    assert world.states.calls == ["resume tencent"]


def test_what_the_provider_cannot_be_told_is_skipped() -> None:
    """A code never entered is skipped unless the provider wants to hear of it."""
    for provider in (Provider(), Silent()):
        world = World(provider=provider)
        assert world.settle(delivery(event(verified=False))) == Finish(Ending.SKIPPED)
        assert world.gate.entered == 0
    reported = World(provider=Alibabalike()).settle(delivery(event(verified=False)))
    assert reported == Finish(Ending.DELIVERED)


@pytest.mark.parametrize("automatic", [True, False])
def test_what_still_waits_after_a_change_to_never_is_skipped(automatic: bool) -> None:
    """The tracker's own reports go no more; the app's, and those of codes that were entered, do."""
    world = World(provider=Alibabalike(), automatic=automatic)
    made = delivery(event(verified=False), tag="tencent:w:n1")
    assert world.settle(made) == Finish(Ending.DELIVERED if automatic else Ending.SKIPPED)
    world.replies += [DELIVERED] * 2
    for verified in (True, False):
        assert world.settle(delivery(event(verified=verified))) == Finish(Ending.DELIVERED)


def test_a_delivered_probe_lets_the_account_run() -> None:
    """The success of a probe resumes the account; the success of any other event says nothing of it."""
    world = World()
    world.settle(delivery(purpose=LeasePurpose.PROBE))
    world.settle(delivery())
    assert world.states.calls == ["resume tencent"]


@pytest.mark.parametrize("result", [Result.THROTTLED, Result.DOUBTFUL, Result.PERMANENT])
def test_any_answer_to_a_probe_shows_that_an_outage_is_over(result: Result) -> None:
    """A provider that answers works; whether the account may run is decided in Redis."""
    world = World([says(result)])
    world.settle(delivery(purpose=LeasePurpose.PROBE))
    assert world.states.calls[0] == "answered tencent"


@pytest.mark.parametrize("result", [Result.TRANSIENT, Result.NOT_SENT, Result.UNKNOWN])
def test_a_failed_probe_lets_nothing_run_and_uses_no_attempt(result: Result) -> None:
    """However often an event has to probe, it does not die of it; but what may have been taken stays in doubt."""
    world = World([says(result)], policy=Policy(max_attempts=1))
    settlement = world.settle(delivery(purpose=LeasePurpose.PROBE))
    assert world.states.calls == []
    if result is not Result.UNKNOWN:
        assert settlement == Schedule(STOPPED_DELAY, unsent=result is Result.NOT_SENT)
    else:
        assert stored(settlement) == History(doubted=True)


def test_a_probe_that_grew_too_old_is_not_sent_for_ever() -> None:
    """Where no other event comes, the one that probes ends with `max_age`; its doubt is told."""
    world = World([says(Result.UNKNOWN)])
    ended = world.settle(delivery(event(at_ms=NOW_MS - 10**8), purpose=LeasePurpose.PROBE))
    assert letter(ended)["reason"] == "exhausted"
    assert letter(ended)["in_doubt"] is True


def test_what_an_operator_drops_is_not_sent() -> None:
    """An event of an account that is degraded to `shed` ends there."""
    world = World()
    assert world.settle(delivery(purpose=LeasePurpose.SHED)) == Finish(Ending.SHED)
    assert world.gate.entered == 0


def test_every_call_is_told_to_the_breaker() -> None:
    """Failures and successes alike, with the code of the last failure; what the worker itself cut short is no call."""
    world = World([says(Result.TRANSIENT), says(Result.DELIVERED)])
    world.settle()
    world.settle()
    groups = world.calls.take().values()
    assert (sum(group.calls for group in groups), sum(group.failed for group in groups)) == (2, 1)
    assert {group.code for group in groups if group.failed} == {"Code"}
    silent = World(network=SilentHttp)
    asyncio.run(cut_off(silent, delivery()))
    assert not silent.calls.take()


@pytest.mark.parametrize(
    ("result", "settlement"),
    [
        (Result.DELIVERED, Finish(Ending.DELIVERED)),
        (Result.THROTTLED, Schedule(1.0)),
        (Result.ACCOUNT, Schedule(STOPPED_DELAY)),
    ],
)
def test_without_redis_the_answer_still_counts(result: Result, settlement: Settlement) -> None:
    """When the other workers can't be told, the event ends as the answer says all the same."""
    world = World([says(result)], states=States(away=True))
    assert world.settle(delivery(purpose=LeasePurpose.PROBE)) == settlement


def test_a_fault_of_ours_uses_an_attempt() -> None:
    """An event whose report raised is tried again later, and not for ever."""
    world = World(policy=Policy(max_attempts=2))
    again = world.report.fault(delivery(), RuntimeError("bug"))
    assert isinstance(again, Schedule)
    tried = stored(again).attempts[0]
    assert (tried.result, tried.code, tried.message) == (Result.TRANSIENT, "internal_error", "RuntimeError")
    ended = world.report.fault(delivery(history=stored(again)), RuntimeError("bug"))
    assert isinstance(ended, Bury)
    assert ended.reason is Reason.EXHAUSTED


def test_a_fault_of_ours_after_sending_leaves_doubt() -> None:
    """When it is not known whether the request left, the provider may have it."""
    sent = delivery()
    sent.sending = True
    assert stored(World().report.fault(sent, RuntimeError("bug"))).in_doubt


def test_a_fault_says_nothing_of_the_exception() -> None:
    """An exception's text may hold anything: only its class is stored."""
    settlement = World().report.fault(delivery(), ValueError("secret"))
    assert isinstance(settlement, Schedule)
    assert b"secret" not in (settlement.record or b"")


def test_an_exception_goes_through() -> None:
    """A fault of ours is not taken for an answer: the caller hears of it."""
    with pytest.raises(ZeroDivisionError):
        World([ZeroDivisionError()]).settle()


def test_an_event_that_waits_is_handed_back_as_it_is() -> None:
    """At the worker's end an event without a request goes back, no attempt used, nothing rewritten."""
    assert abandon(delivery(), now_ms=NOW_MS) == Schedule(0.0)


def test_an_event_in_flight_is_handed_back_in_doubt() -> None:
    """At the worker's end an event whose answer will be missed is in doubt, and an attempt is used."""
    sent = delivery(history=attempts(Result.TRANSIENT))
    sent.sending = True
    history = stored(abandon(sent, now_ms=NOW_MS + 7))
    assert history.in_doubt
    assert [(attempt.code, attempt.at_ms) for attempt in history.attempts[1:]] == [("shutdown", NOW_MS + 7)]


@pytest.mark.parametrize("settlement", [abandon(delivery(deaths=2), now_ms=NOW_MS)])
def test_a_suspect_that_was_leased_alone_is_one_no_more(settlement: Schedule) -> None:
    """A suspect that outlived its lease goes back without its deaths."""
    assert settlement.record is not None
    assert not Leased.parse("tencent", "t", settlement.record).suspect


def test_a_request_cut_off_by_the_end_is_counted() -> None:
    """A request that outlasts the grace is an attempt of unknown result in the metrics."""
    world = World(network=SilentHttp)
    assert stored(asyncio.run(cut_off(world, delivery()))).in_doubt
    assert world.observer.attempts == [(Result.UNKNOWN, 1)]


async def test_what_is_heard_after_the_end_is_ignored() -> None:
    """A request that was given up may have an answer a moment later; the event has ended, and is another worker's."""
    heard: list[Callable[[Answer | Exception], None]] = []

    class Held(Http):
        """A network that answers when it is told to."""

        def start(
            self, request: SignedRequest, send_by: float, then: Callable[[Answer | Exception], None], /
        ) -> Callable[[], object]:
            heard.append(then)
            return lambda: then(InDoubt("given up"))

    world = World(network=Held)
    assert stored(await cut_off(world, delivery())).in_doubt
    heard[0](DELIVERED)
    assert world.observer.attempts == [(Result.UNKNOWN, 1)]


async def test_an_event_that_waits_for_its_slot_is_withdrawn() -> None:
    """At the worker's end it goes back as it is, and no slot is used for it."""

    class Closed(Gate):
        """A door where all wait."""

        withdrawn = 0

        def enter(self, delivery: Delivery, then: Callable[[Slot | Refusal], None]) -> None:
            """Let wait."""

        def withdraw(self, delivery: Delivery) -> None:
            self.withdrawn += 1

    gate = Closed()
    assert await cut_off(World(gate=gate), delivery()) == Schedule(0.0)
    assert gate.withdrawn == 1


@pytest.mark.parametrize("error", [TooLate("the slot was over"), NotSent("a line break in a header")])
def test_what_is_known_at_once_is_as_if_it_were_heard(error: Exception) -> None:
    """Where nothing left, the client raises; no request was under way for a moment."""

    class Raising(Http):
        """A network that raises once."""

        def start(
            self, request: SignedRequest, send_by: float, then: Callable[[Answer | Exception], None], /
        ) -> Callable[[], object]:
            if self.requests:
                return super().start(request, send_by, then)
            self.requests.append(request)
            raise error

    permits = Permits(5, on_end=lambda: None)
    world, of = World(network=Raising, gate=Gate(permits=permits)), delivery()
    settlement = world.settle(of)
    if isinstance(error, TooLate):
        assert (settlement, world.gate.entered) == (Finish(Ending.DELIVERED), 2)
    else:
        assert stored(settlement).unsent == Unsent(1, NOW_MS, "not_sent", str(error))
    assert permits.open == 0


@pytest.mark.parametrize("step", ["entering", "signing", "observing"])
def test_a_fault_in_any_step_is_raised_to_the_engine(step: str) -> None:
    """And the permit of the event ends."""

    class Shut(Gate):
        """A door with a fault."""

        def enter(self, delivery: Delivery, then: Callable[[Slot | Refusal], None]) -> None:
            if step == "entering":
                raise ZeroDivisionError
            super().enter(delivery, then)

    class Unsigned(Provider):
        """A provider with a fault."""

        def request(self, event: Verification, *, now: float, nonce: str) -> SignedRequest:
            if step == "signing":
                raise ZeroDivisionError
            return super().request(event, now=now, nonce=nonce)

    class Blind(Observer):
        """An observer with a fault."""

        def admitted(self, delivery: Delivery, seconds: float) -> None:
            if step == "observing":
                raise ZeroDivisionError

    permits = Permits(5, on_end=lambda: None)
    world = World(gate=Shut(permits=permits), provider=Unsigned(), observer=Blind())
    with pytest.raises(ZeroDivisionError):
        world.settle()
    assert permits.open == 0


@pytest.mark.parametrize("turns", [0, 1, 5])
async def test_the_end_may_come_before_the_others_hear(turns: int) -> None:
    """Also where the change of the shared state has not begun yet."""
    ended: list[How] = []
    world = World(states=SilentStates())
    reporting = Reporting(delivery(purpose=LeasePurpose.PROBE), lambda _, how: ended.append(how))
    world.report.begin(reporting)
    while not reporting.answered:  # noqa: ASYNC110 - each turn counts
        await asyncio.sleep(0)
    for _ in range(turns):
        await asyncio.sleep(0)
    world.report.abandon(reporting, now_ms=NOW_MS)
    for _ in range(5):
        await asyncio.sleep(0)
    assert ended == [Finish(Ending.DELIVERED)]


def test_the_end_does_not_take_back_an_answer() -> None:
    """Cut off while it tells the others, a report still ends as the answer says: delivered is delivered."""
    world = World(states=SilentStates())
    assert asyncio.run(cut_off(world, delivery(purpose=LeasePurpose.PROBE))) == Finish(Ending.DELIVERED)


@pytest.mark.parametrize(
    "replies",
    [
        [DELIVERED],
        [says(Result.THROTTLED)],
        [NotSent("no name")],
        [TooLate("the slot was over"), DELIVERED],
    ],
)
def test_a_permit_ends_with_the_answer(replies: list[Answer | Exception]) -> None:
    """Whoever answered, or if nothing was sent, the permit is free at once; each slot's of several."""
    permits = Permits(5, on_end=lambda: None)
    World(replies, gate=Gate(permits=permits)).settle()
    assert permits.open == 0


def test_the_permit_of_an_event_without_a_request_ends() -> None:
    """An event that no request can name gives its permit back."""
    permits = Permits(5, on_end=lambda: None)
    World(provider=Pathlike(), gate=Gate(permits=permits)).settle(delivery(event("..")))
    assert permits.open == 0


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_request_without_an_answer_keeps_its_permit_for_a_while(
    monkeypatch: pytest.MonkeyPatch, *, cancelled: bool
) -> None:
    """Its end is on its way to the provider: until that is there, the next one would be one too many."""
    monkeypatch.setattr("tasks.limiter.permits.LINGER", 0.02)
    over = asyncio.Event()
    permits = Permits(5, on_end=over.set)
    world = World([InDoubt("EOF")], SilentHttp if cancelled else Http, gate=Gate(permits=permits))
    await (cut_off if cancelled else World.reported)(world, delivery())
    assert permits.open == 1
    await asyncio.wait_for(over.wait(), 10)
    assert permits.open == 0
