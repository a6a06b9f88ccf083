"""OTPs are noted and closed by the rules, on real servers with a clock that the test sets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.keyspace import find_queues
from tasks.message import decode
from tasks.tracking.otps import Country
from tests.support.admin import admin
from tests.support.otps import ACCOUNT, Tracking
from tests.support.redis_servers import debians, follow, needs_debians
from worker.embedded import EmbeddedValkey

NO, YES = Country(1, 0, 0, 1), Country(1, 1, 1, 0)


@pytest.fixture(scope="module", params=["valkey", pytest.param("redis-server", marks=needs_debians)])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedValkey]:
    """Yield each kind of server."""
    folder: Path = tmp_path_factory.mktemp("server")
    made = (
        debians(folder)
        if request.param == "redis-server"
        else EmbeddedValkey(folder, options={"appendfsync": "no"})
    )
    with made:
        yield made


@pytest.fixture
def tracking(server: EmbeddedValkey) -> Iterator[Tracking]:
    """Yield one who tracks, on an empty server, and has looked for long."""
    with redis.Redis(port=server.port) as client:
        admin(client).flushall()
        tracking = Tracking(client)
        tracking.sent("first", country="AD", expires_in=5110)
        tracking.track()
        tracking.watch(70)
        yield tracking


def country(tracking: Tracking, code: str = "SG") -> Country:
    """Return the counts of a country."""
    return tracking.otps.countries.get(code, Country())


def test_an_otp_closes_a_grace_after_its_end(tracking: Tracking) -> None:
    """Sixty seconds to enter the code and sixty of grace, and not a moment sooner."""
    tracking.sent("a")
    tracking.sent("b")
    tracking.track()
    tracking.verified("a")
    assert tracking.watch(120) == 0
    assert country(tracking) == Country(2, 1)
    assert tracking.otps.open == 3
    assert tracking.watch(4) == 2
    assert country(tracking) == Country(2, 1, 1, 1)
    assert tracking.otps.unsaid == 1
    assert tracking.gaps == (0, 0)


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("verified", [False, True])
def test_a_repeat_changes_no_number(tracking: Tracking, *, closed: bool, verified: bool) -> None:
    """Whatever is told again, of an OTP that is open or closed, counts once."""
    for _ in range(2):
        tracking.sent("a", country="SG")
        if verified:
            tracking.verified("a")
        tracking.track(2)
        if closed:
            tracking.watch(130)
        if not verified and closed:
            tracking.verified("a")
            tracking.verified("a")
            tracking.track()
    expected = (YES if verified else NO) if closed else Country(1, int(verified))
    otps = tracking.otps
    assert otps.countries["SG"] == expected
    assert (otps.late, otps.unmatched) == (int(closed and not verified), 0)
    assert sum(otps.seconds.values()) == int(verified)
    assert tracking.gaps == (0, 0)


def test_a_closed_otp_is_remembered_for_the_time_of_the_setting(server: EmbeddedValkey) -> None:
    """After DEDUPE_TTL, and half of it more at most, the same id is another OTP."""
    with redis.Redis(port=server.port) as client:
        admin(client).flushall()
        tracking = Tracking(client, ttl=1000)
        tracking.sent("a")
        tracking.track()
        tracking.watch(140)
        for _ in range(9):
            tracking.set_clock(tracking.now + 100)
            tracking.sent("a")
            tracking.track()
        assert country(tracking) == NO
        tracking.set_clock(tracking.now + 1500)
        tracking.sent("a")
        tracking.track()
        assert country(tracking) == Country(2, 0, 0, 1)
        keys: list[bytes] = tracking.client.keys("otpreport:closed:*")
        assert keys
        assert all(tracking.client.ttl(key) > 0 for key in keys)


@pytest.mark.parametrize("ahead", [1800, 3 * 3600, 20 * 3600])
def test_a_repeat_from_a_clock_that_is_ahead(tracking: Tracking, ahead: int) -> None:
    """Of an OTP that was closed in the half of DEDUPE_TTL before, whose `sent` lies in this one by the app's clock."""
    tracking.set_clock((tracking.now // 43_200 + 1) * 43_200 - 300)
    at = tracking.now + ahead
    for _ in range(2):
        tracking.tell(f"sent {at}000 30 SG a")
        tracking.track(2)
        tracking.watch(200)
        tracking.set_clock(max(at, tracking.now + 300) + 60)
    assert tracking.now % 43_200 > 3600 or ahead < 3600
    assert country(tracking) == NO
    assert tracking.gaps == (0, 0)


@pytest.mark.parametrize("given_up", [True, False])
def test_a_repeat_after_the_longer_memory_took_over(tracking: Tracking, *, given_up: bool) -> None:
    """What was taken from the memory of the setting before is taken from the new one's, too."""
    longer = Tracking(tracking.client, ttl=10 * 86_400)
    longer.set_clock((longer.now // 432_000 + 1) * 432_000)
    tracking.sent("other")
    tracking.track()

    def tell_all() -> None:
        longer.sent("a", expires_in=30)
        longer.watch(160)
        longer.verified("a")
        longer.track(2)

    if given_up:
        longer.verified("a")
        longer.watch(1000)
    for _ in range(2):
        tell_all()
        longer.set_clock(longer.now + 3 * 86_400)
    assert tracking.otps.countries["SG"].sent == 2
    assert (tracking.otps.late, tracking.otps.unmatched) == (int(not given_up), int(given_up))
    assert tracking.gaps == (0, 0)


def test_verified_before_sent_is_verified(tracking: Tracking) -> None:
    """Two web servers tell in any order; the time it took is known all the same."""
    tracking.verified("a", ago=3)
    tracking.track(2)
    tracking.sent("a", ago=20)
    tracking.track()
    assert country(tracking) == Country(1, 1)
    assert (tracking.otps.seconds["20"], tracking.otps.seconds_sum) == (1, 15.0)
    tracking.watch(140)
    assert country(tracking) == YES


def test_verified_and_never_sent_is_unmatched_once(tracking: Tracking) -> None:
    """After 15 minutes it is given up; a `sent` that comes later still finds it verified."""
    tracking.verified("a")
    tracking.track()
    tracking.watch(890)
    assert tracking.otps.unmatched == 0
    tracking.watch(20)
    assert tracking.otps.unmatched == 1
    tracking.verified("a")
    tracking.watch(910)
    assert tracking.otps.unmatched == 1
    tracking.sent("a", ago=1800)
    tracking.sent("a", ago=1800)
    tracking.watch(70)
    assert country(tracking) == YES
    assert tracking.otps.unmatched == 1


def test_nothing_closes_after_a_time_in_which_nobody_looked(tracking: Tracking) -> None:
    """What nobody watched is no proof of silence: for a minute the apps may tell what they kept."""
    tracking.sent("a")
    tracking.track()
    tracking.track(300)
    assert tracking.otps.open == 2
    tracking.verified("a")
    assert tracking.watch(58) == 0
    assert tracking.watch(6) == 1
    assert country(tracking) == YES


def test_after_an_outage_it_is_waited_for_spools(tracking: Tracking) -> None:
    """They may take longer than a minute to come back: nothing closes while old notices come."""
    tracking.sent("a")
    tracking.track()
    tracking.track(300)
    for number in range(10):
        tracking.verified(f"x{number}", ago=200)
        assert tracking.watch(30) == 0
    tracking.verified("a", ago=600)
    assert tracking.watch(58) == 0
    assert tracking.watch(6) == 1
    assert country(tracking) == YES


@pytest.mark.parametrize("after_an_outage", [True, False])
def test_a_clock_that_is_behind_stops_no_closing(tracking: Tracking, *, after_an_outage: bool) -> None:
    """Whose notices always look old delays closings after an outage for half an hour, and else not at all."""
    tracking.sent("a")
    tracking.track(300 if after_an_outage else 0)
    took = 0
    while tracking.otps.open == 2:
        tracking.verified(f"x{took}", ago=500)
        tracking.watch(30)
        took += 30
        assert took <= 1800 + 120
    assert (took > 1700) is after_an_outage


def test_without_the_watch_a_verified_otp_closes_as_not_verified(tracking: Tracking) -> None:
    """Negative control: the same with no time for the apps to tell."""
    tracking.sent("a")
    tracking.track()
    tracking.track(300, watch=0)
    tracking.track(2, watch=0)
    tracking.verified("a")
    tracking.watch(62, watch=0)
    assert country(tracking) == NO
    assert tracking.otps.late == 1


def test_closing_waits_for_what_was_told_in_time(tracking: Tracking) -> None:
    """A list that is long when an OTP ends is noted first: the notice may be the last of it."""
    tracking.sent("a", expires_in=30)
    tracking.track()
    tracking.tell(*(f"verified 1 x{number}" for number in range(400)))
    tracking.verified("a")
    for _ in range(50):  # 8 notices each two seconds
        assert tracking.track(2, notices=8)[1] == 0
    while tracking.otps.waiting:
        tracking.track(2, notices=8)
    tracking.track(2)
    assert country(tracking) == YES


@pytest.mark.parametrize("flood", [True, False])
def test_a_flood_that_never_ends_stops_no_closing(tracking: Tracking, *, flood: bool) -> None:
    """What is told after an OTP's end need not be noted first, though the list is never empty."""
    tracking.sent("a", expires_in=30)
    tracking.track()
    tracking.tell(*(f"verified 1 x{number}" for number in range(200)))
    took = 0
    while tracking.otps.open == 2:
        if flood:
            tracking.tell(*(f"verified 1 y{took}-{number}" for number in range(20)))
        tracking.track(2, notices=20)
        took += 2
        assert took < 90 + 60
    assert took > 90
    assert (tracking.otps.waiting > 0) is flood
    assert len(str(tracking.client.hget(tracking.keys.otps(ACCOUNT), "marks") or "")) < 300


@pytest.mark.parametrize(
    ("notice", "open_for"),
    [
        ("sent {future} 60 SG a", 120),
        ("sent {past} 60 SG a", 60),
        ("sent 1 60 SG a", 60),
        ("sent 999999999999999 5110 SG a", 5170),
    ],
)
def test_a_clock_that_is_off_delays_no_closing(tracking: Tracking, notice: str, open_for: int) -> None:
    """The end lies between now and now + expires_in by Redis' clock, whatever the app's says."""
    times = {"future": (tracking.now + 10**6) * 1000, "past": (tracking.now - 500) * 1000}
    tracking.tell(notice.format(**times))
    tracking.track()
    tracking.watch(open_for - 2)
    assert country(tracking) == Country(1)
    tracking.watch(6)
    assert country(tracking) == NO


@pytest.mark.parametrize("verified", [False, True])
def test_a_clock_of_redis_that_is_set_back_keeps_no_otp_open(tracking: Tracking, *, verified: bool) -> None:
    """What was noted three hours ahead ends as if it were sent now; what is counted stays."""
    right = tracking.now
    tracking.set_clock(right + 10_800)
    for number in range(250):
        tracking.sent(f"a{number}", expires_in=300, country="BR")
    tracking.watch(10)
    if verified:
        for number in range(250):
            tracking.verified(f"a{number}")
        tracking.watch(10)
    tracking.set_clock(right)
    tracking.watch(358)
    assert country(tracking, "BR") == Country(250, 250 * verified)
    tracking.watch(20)
    assert country(tracking, "BR") == Country(250, *((250, 250) if verified else (0, 0, 250)))
    assert tracking.gaps == (0, 0)


@pytest.mark.parametrize("order", ["sent first", "verified first"])
@pytest.mark.parametrize("between", [2, 50])
def test_spools_that_come_back_after_an_hour(tracking: Tracking, order: str, between: int) -> None:
    """While others went on, two servers were cut off: what they kept counts once, as it was."""
    at = tracking.now - 3600
    told = [f"sent {at}000 60 SG a", f"verified {at + 10}000 a"]
    for notice in told if order == "sent first" else reversed(told):
        tracking.tell(notice, notice)
        tracking.watch(between)
    tracking.watch(200)
    assert country(tracking) == YES
    assert (tracking.otps.late, tracking.otps.unmatched) == (0, 0)


@pytest.mark.parametrize("expires_in", [30, 5110])
def test_the_least_and_the_greatest_expiry(tracking: Tracking, expires_in: int) -> None:
    """Both are followed to the second, and the report names when the OTP was sent and when it ended."""
    sent = tracking.now
    tracking.sent("a", expires_in=expires_in)
    tracking.track()
    tracking.watch(expires_in + 60, room=10)
    assert country(tracking) == Country(1)
    tracking.watch(2, room=10)
    assert country(tracking) == NO
    event = decode(tracking.negatives[-1]).kwargs["event"]
    assert isinstance(event, dict)
    assert (event["sent_at"], event["occurred_at"]) == (sent * 1000, (sent + expires_in) * 1000)


def test_the_longest_id(tracking: Tracking) -> None:
    """256 characters of four bytes each are followed and reported; one byte more is no notice."""
    longest = "\U0001f600" * 256
    tracking.sent(longest)
    tracking.sent(longest + "x", country="BR")
    tracking.verified(longest + "y")
    assert tracking.watch(130, room=10) == 1
    event = decode(tracking.negatives[0]).kwargs["event"]
    assert isinstance(event, dict)
    assert event["message_id"] == longest
    assert country(tracking, "BR") == Country()
    assert len(tracking.client.lrange(tracking.keys.ready(ACCOUNT)[0], 0, -1)) == 2


def test_a_memory_that_is_shorter_than_an_otp_lives(server: EmbeddedValkey, tracking: Tracking) -> None:
    """An open OTP needs no memory: told again and again for its hour and a half it counts once."""
    brief = Tracking(tracking.client, ttl=60)
    for code in ("BR", "SG"):
        brief.sent(code, expires_in=5110, country=code)
    for _ in range(12):
        brief.verified("BR")
        for code in ("BR", "SG"):
            brief.sent(code, expires_in=5110, country=code)
        brief.watch(430)
    brief.watch(14)
    assert (country(brief, "BR"), country(brief)) == (YES, NO)
    brief.sent("SG", expires_in=5110)
    brief.verified("BR")
    brief.watch(10)
    assert (country(brief, "BR"), country(brief)) == (YES, NO)


def test_two_prefixes_know_nothing_of_each_other(tracking: Tracking) -> None:
    """Two deployments on one Redis with the same account and the same ids count each their own."""
    other = Tracking(tracking.client, prefix="shop:")
    other.sent("other")
    other.track()
    for one in (tracking, other):
        one.sent("a")
    tracking.verified("a")
    for _ in range(100):
        tracking.track(1, room=10)
        other.track(1, room=10)
    assert (country(tracking), country(other)) == (YES, Country(2, 0, 0, 2))
    assert (len(tracking.negatives), len(other.negatives)) == (0, 2)
    assert tracking.gaps == other.gaps == (0, 0)


def test_an_otp_that_is_told_late_has_no_latency(tracking: Tracking) -> None:
    """When its time was over before it was noted, nobody knows how long the user took."""
    tracking.sent("a", ago=600)
    tracking.verified("a", ago=590)
    tracking.track()
    assert country(tracking) == Country(1, 1)
    assert not any(tracking.otps.seconds.values())


@pytest.mark.parametrize(
    ("took", "bound"), [(0, "5"), (5, "5"), (6, "10"), (29.9, "30"), (300, "300"), (601, "inf"), (-20, "5")]
)
def test_the_time_from_sent_to_verified_is_counted(tracking: Tracking, took: float, bound: str) -> None:
    """Each in the bucket of its upper bound; the expiry need be no round number."""
    tracking.sent("a", expires_in=1003, ago=700)
    tracking.verified("a", ago=700 - took)
    tracking.track()
    assert {name for name, count in tracking.otps.seconds.items() if count} == {bound}
    assert tracking.otps.seconds_sum == max(0, took)


@pytest.mark.parametrize("code", ["XK", "UK", "AA", "ZZ"])
def test_a_country_that_is_none_counts_as_unknown(tracking: Tracking, code: str) -> None:
    """So the number of fields is bounded, whoever writes."""
    tracking.sent("a", country=code)
    tracking.track()
    assert set(tracking.otps.countries) == {"AD", "ZZ"}


@pytest.mark.parametrize(
    "rubbish",
    [
        b"rubbish",
        b"",
        b"\xff\x00\n\n{",
        b"sent 1 29 SG a",
        b"sent 1 5111 SG a",
        b"sent -1 60 SG a",
        b"sent 1 60 sg a",
        b"sent 1 60 SGP a",
        b"sent 1 60 SG ",
        b"sent 1234567890123456 60 SG a",
        b"verified x a",
        b"verified 1 " + b"a" * 1025,
        b"sent 1 60 SG " + b"a" * 100_000,
        b"verified 1 a".upper(),
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_what_is_no_notice_goes_to_the_queue(tracking: Tracking, rubbish: bytes) -> None:
    """There it is read, and buried with its bytes; it counts as nothing."""
    tracking.tell(rubbish)
    tracking.track()
    assert tracking.client.lrange(tracking.keys.ready(ACCOUNT)[0], 0, -1) == [rubbish]
    assert tracking.otps.countries == {"AD": Country(1)}


@pytest.mark.parametrize("message_id", ["a b", "a\nb", "ü\N{THUMBS UP SIGN}", '"\\', "x" * 256, "\x00"])
def test_an_id_may_hold_anything(tracking: Tracking, message_id: str) -> None:
    """It comes last in a notice; its report names it as the app did."""
    tracking.sent(message_id)
    tracking.track()
    tracking.watch(130, room=10)
    [raw] = tracking.negatives
    assert decode(raw).kwargs["event"] == {
        "account": ACCOUNT,
        "message_id": message_id,
        "occurred_at": (tracking.now - 70) * 1000,
        "verified": False,
        "sent_at": (tracking.now - 130) * 1000,
    }


def test_reports_are_bounded(tracking: Tracking) -> None:
    """What does not fit is counted as withheld, and each `no` is one of these."""
    for number in range(10):
        tracking.sent(f"a{number}")
    tracking.track()
    tracking.watch(130, room=4)
    assert (tracking.otps.queued, tracking.otps.withheld, len(tracking.negatives)) == (4, 6, 4)
    assert tracking.gaps == (0, 0)
    tracking.sent("b")
    tracking.track()
    tracking.watch(130, room=4)
    assert (tracking.otps.queued, tracking.otps.withheld) == (4, 7)
    assert tracking.gaps == (0, 0)


@pytest.mark.parametrize(("deadline", "said"), [(0, True), (900, True), (125, True), (115, False)])
def test_what_ends_after_the_deadline_is_unsaid(tracking: Tracking, deadline: int, *, said: bool) -> None:
    """A report that the provider takes no more is none."""
    tracking.sent("a")
    tracking.track()
    tracking.watch(122, room=9, deadline=deadline)
    tracking.watch(8, room=9, deadline=deadline)
    assert (tracking.otps.queued, tracking.otps.unsaid) == ((1, 0) if said else (0, 1))
    assert tracking.gaps == (0, 0)


def test_two_who_track_count_once(tracking: Tracking) -> None:
    """Any number of workers do the same, on the same keys."""
    others = [Tracking(tracking.client) for _ in range(2)]
    for number in range(300):
        tracking.sent(f"a{number}", expires_in=30)
        if number % 3:
            tracking.verified(f"a{number}")
    for _ in range(60):
        tracking.track(2, room=1000, notices=7, closings=3)
        for other in others:
            other.track(room=1000, notices=20, closings=3)
    while tracking.track(2, room=1000)[1]:
        pass
    assert country(tracking) == Country(300, 200, 200, 100)
    events = [decode(raw).kwargs["event"] for raw in tracking.negatives]
    assert len({str(event) for event in events}) == 100 == len(events)
    assert tracking.gaps == (0, 0)


def test_an_hour_is_counted_by_itself(tracking: Tracking) -> None:
    """The last full hour and the same a day before, for whoever compares; they expire."""
    tracking.set_clock(tracking.now // 3600 * 3600 + 60)
    tracking.sent("a")
    tracking.watch(200)
    [name] = tracking.client.keys("otpreport:otps:aws:*")
    assert name.decode() == tracking.keys.otps_of_hour(ACCOUNT, tracking.now // 3600)
    assert tracking.client.hgetall(name) == {b"SG:no": b"1"}
    assert 49 * 3600 < tracking.client.ttl(name) <= 50 * 3600


@pytest.mark.parametrize("kind", ["otps", "open", "early", "queue", "notices"])
def test_a_key_of_a_wrong_type_loses_nothing(tracking: Tracking, kind: str) -> None:
    """Nothing is taken that could not be put down; once the key is mended all of it counts."""
    keys = tracking.keys
    name = {
        "otps": keys.otps(ACCOUNT),
        "open": keys.open_otps(ACCOUNT),
        "early": keys.early_otps(ACCOUNT),
        "queue": keys.ready(ACCOUNT)[0],
        "notices": keys.notices(ACCOUNT),
    }[kind]
    had = tracking.client.dump(name)
    tracking.client.set(name, "x")
    if kind != "notices":
        tracking.tell(f"sent {tracking.now * 1000} 60 SG a", "rubbish")
    noted, closed, _, [fault] = tracking.track()
    assert (noted, closed) == (0, 0)
    assert fault.startswith(f"{name}: WRONGTYPE")
    tracking.client.delete(name)
    if had is not None:
        tracking.client.restore(name, 0, had)
    if kind != "notices":
        assert tracking.track()[0] == 2
        assert country(tracking) == Country(1)


def test_nothing_is_taken_while_it_can_not_be_looked_up(tracking: Tracking) -> None:
    """The key of the widths is of a wrong type: the call fails before it takes a notice, or a verified one."""
    tracking.verified("never-sent")
    tracking.track()
    tracking.watch(890)
    name = tracking.keys.remembered
    tracking.client.delete(name)
    tracking.client.set(name, "x")
    tracking.sent("a")
    for _ in range(2):
        with pytest.raises(redis.ResponseError, match=f"{name}: "):
            tracking.track(1)
    tracking.client.delete(tracking.keys.notices(ACCOUNT))
    with pytest.raises(redis.ResponseError, match=f"{name}: "):
        tracking.watch(20)
    assert tracking.client.zcard(tracking.keys.early_otps(ACCOUNT)) == 1
    tracking.client.delete(name)
    tracking.sent("a")
    tracking.watch(70)
    assert country(tracking) == Country(1)
    assert tracking.otps.unmatched == 1


def test_a_right_that_is_taken_away_loses_nothing(server: EmbeddedValkey, tracking: Tracking) -> None:
    """A user who may not remove what is closed notes all the same; what is due closes once the right is back."""
    tracking.sent("a")
    tracking.watch(118)
    tracking.client.acl_setuser(
        "few", enabled=True, passwords=["+few"], keys=["*"], commands=["+@all", "-zremrangebyrank"]
    )
    with redis.Redis(port=server.port, username="few", password="few") as client:
        few = Tracking(client)
        few.sent("b")
        noted, closed, _, [fault] = few.track(10)
    tracking.client.acl_deluser("few")
    assert (noted, closed) == (1, 0)
    assert "NOPERM" in fault
    assert country(tracking) == Country(2)
    assert tracking.gaps == (0, 0)
    assert tracking.watch(2) == 1
    assert country(tracking) == Country(2, 0, 0, 1)


@pytest.mark.parametrize(("right", "noted"), [("-memory|usage", 2), ("-zmscore", 0)])
def test_a_right_that_is_not_there_loses_no_notice(
    server: EmbeddedValkey, tracking: Tracking, right: str, noted: int
) -> None:
    """Who may not ask how large notices are takes one after the other; who may not look up takes none."""
    tracking.client.acl_setuser(
        "few", enabled=True, passwords=["+few"], keys=["*"], commands=["+@all", right]
    )
    with redis.Redis(port=server.port, username="few", password="few") as client:
        few = Tracking(client)
        few.sent("b")
        few.verified("b")
        assert few.track()[0] == noted
    tracking.client.acl_deluser("few")
    tracking.track()
    assert country(tracking) == Country(1, 1)
    assert tracking.gaps == (0, 0)


def test_a_redis_without_the_command_loses_no_notice(tmp_path: Path) -> None:
    """Some services take MEMORY out, so that nobody can even ask for the right."""
    file = tmp_path / "more.conf"
    file.write_text('rename-command MEMORY ""\n')
    with (
        EmbeddedValkey(tmp_path, options={"include": str(file)}) as server,
        redis.Redis(port=server.port) as client,
    ):
        tracking = Tracking(client)
        tracking.sent("b")
        tracking.verified("b")
        assert tracking.track()[0] == 2


def test_a_score_that_is_none_costs_no_notice(tracking: Tracking) -> None:
    """What a hand put among the open OTPs goes with those that are due, and its call notes what others told."""
    tracking.client.zadd(tracking.keys.open_otps(ACCOUNT), {"x": "-inf"})
    tracking.sent("a")
    tracking.watch(180)
    tracking.sent("b")
    tracking.track()
    assert country(tracking) == Country(2, 0, 0, 1)
    assert tracking.client.zscore(tracking.keys.open_otps(ACCOUNT), "x") is None


def test_a_call_that_notes_closes_fewer(tracking: Tracking) -> None:
    """It keeps Redis no longer than one that closes alone; a flood of notices still lets a quarter close."""
    for number in range(100):
        tracking.sent(f"a{number}")
    tracking.track()
    tracking.watch(120)
    for told, closed in ((90, 10), (20, 20), (0, 40)):
        for number in range(told):
            tracking.sent(f"b{told}-{number}", expires_in=300)
        assert tracking.track(1, closings=40)[:3] == (told, closed, True)


@pytest.mark.parametrize(("size", "calls"), [(0, 1), (300_000, 10)])
def test_small_notices_are_taken_at_once(tracking: Tracking, size: int, calls: int) -> None:
    """One command takes them; before one that is large each is taken by itself."""
    notices = [f"verified {tracking.now * 1000} {number}" for number in range(9)]
    tracking.tell(*notices, "x" * size)
    tracking.client.config_resetstat()
    assert tracking.track()[0] == 10
    assert tracking.client.info("commandstats")["cmdstat_rpop"]["calls"] == calls


def test_what_does_not_fill_another_call_waits(tracking: Tracking) -> None:
    """Of one account or of several: the worker is told to come at once where a full call is left."""
    notices = [f"verified {tracking.now * 1000} {number}" for number in range(160)]
    tracking.tell(*notices)
    tracking.client.lpush(tracking.keys.notices("other"), *notices[:50])
    calls = [tracking.track(others=["other"]) for _ in range(3)]
    assert [call[0] for call in calls] == [100, 100, 10]
    assert [call[2] for call in calls] == [True, False, False]


def test_what_is_given_up_in_one_call_is_bounded(tracking: Tracking) -> None:
    """However many accounts there are, or a call after an outage would hold Redis for a tenth of a second."""
    others = [f"other-{number}" for number in range(3)]
    score = (tracking.now + 10 - 1767225600) * 2**20 + 2**19
    for name in (ACCOUNT, *others):
        tracking.client.zadd(tracking.keys.early_otps(name), {f"x{number}": score for number in range(80)})
        tracking.client.hset(
            tracking.keys.otps(name), mapping={"dispatched": 1, "looked": tracking.now * 1000}
        )
    left: list[int] = []
    for _ in range(11):
        tracking.track(2, others=others)
        left.append(sum(tracking.client.zcard(tracking.keys.early_otps(name)) for name in (ACCOUNT, *others)))
    assert left == [320] * 5 + [220, 120, 20, 0, 0, 0]


def test_a_message_of_any_size_is_passed_on_alone(tracking: Tracking) -> None:
    """A call takes no more notices than a bounded number of bytes holds."""
    tracking.tell(*[b"x" * 1_000_000] * 3)
    assert tracking.track()[:3] == (1, 0, True)
    assert tracking.track()[:3] == (1, 0, True)
    assert tracking.track()[:3] == (1, 0, False)


def test_a_replica_that_takes_over_adds_up(valkey_server: EmbeddedValkey, tmp_path: Path) -> None:
    """What has reached the replica of a call has done so whole: after a failover at any moment nothing is missing."""
    with (
        EmbeddedValkey(tmp_path / "replica") as other,
        redis.Redis(port=valkey_server.port) as client,
        redis.Redis(port=other.port) as replica,
    ):
        tracking = Tracking(client)
        follow(other.port, valkey_server.port)
        for number in range(300):
            tracking.sent(f"a{number}", expires_in=30)
        for _ in range(60):
            tracking.track(2, room=50, notices=9, closings=7)
        admin(replica).replicaof("NO", "ONE")
        promoted = Tracking(replica)
        assert promoted.otps.total.sent
        assert promoted.gaps == (0, 0)
        while promoted.otps.open or promoted.otps.waiting:
            promoted.track(2, room=50)
        assert promoted.gaps == (0, 0)


def test_notices_of_an_account_with_workers_are_no_strangers(tracking: Tracking) -> None:
    """They are served; those of an account that nobody knows are shown as a queue without workers."""
    tracking.sent("a")
    assert not find_queues(tracking.client, tracking.keys, [ACCOUNT]).named
    assert find_queues(tracking.client, tracking.keys, ["other"]).named == {"aws.otps": 1}


def test_nobody_who_only_looks_is_tracked(server: EmbeddedValkey) -> None:
    """Of an account of which nobody told, no key is made."""
    with redis.Redis(port=server.port) as client:
        admin(client).flushall()
        tracking = Tracking(client)
        before = tracking.client.keys("*")
        assert tracking.track()[:2] == (0, 0)
        assert tracking.client.keys("*") == before


def test_the_verified_of_who_dispatches_nothing_are_bounded(tracking: Tracking) -> None:
    """They wait for their `sent`, so many at most; of an account that never had one nothing is remembered."""
    untyped: Any = tracking.client
    untyped.flushall()
    tracking.set_clock(1_800_000_000)
    early, score = tracking.keys.early_otps(ACCOUNT), (1_800_000_900 - 1767225600) * 2**20 + 2**19
    for start in range(0, 100_000, 5000):
        untyped.zadd(early, {f"x{number}": score for number in range(start, start + 5000)})
    for number in range(50):
        tracking.verified(f"y{number}")
    tracking.track()
    tracking.track()
    assert untyped.zcard(early) == 100_000
    assert tracking.otps.unmatched == 50
    assert not untyped.keys("otpreport:closed:*")
