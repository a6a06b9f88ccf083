"""The conversion rate in words."""

from dataclasses import replace
from typing import Any

import pytest

from tasks.tracking.otps import Country, Otps
from tests.support.looks import account, look, worker
from worker.fleet.conversion import Conversion, sentence, troubles_of
from worker.fleet.notes import Severity, notes
from worker.fleet.record import record

HOUR = {"BR": Country(yes=41, no=59), "CN": Country(yes=780, no=220), "NG": Country(yes=0, no=29)}
YESTERDAY = {"BR": Country(yes=68, no=32), "CN": Country(yes=750, no=250)}
OTPS = Otps(
    "tencent", 0, {"CN": Country(1130, 830, 821, 308)}, open=1, unsaid=308, hour=HOUR, yesterday=YESTERDAY
)


def test_the_rate_beside_yesterdays() -> None:
    """A country that fell is named, unless it has fewer than 30 closed OTPs; one that rose is not."""
    assert sentence(OTPS) == "tencent: conversion 73 % (yesterday 74 %), BR 41 % (68 %)"


def test_no_yesterday() -> None:
    """On the first day there is nothing to compare with; an account of one country has no others to name."""
    assert sentence(replace(OTPS, yesterday={})) == "tencent: conversion 73 %, BR 41 %"
    only = replace(OTPS, hour={"CN": HOUR["CN"]})
    assert sentence(only) == "tencent: conversion 78 % (yesterday 74 %)"


def test_chance_names_no_country() -> None:
    """Of equal countries some are always a little below the account; nobody is to look for a reason."""
    equal = {"BR": Country(yes=83, no=17), "DE": Country(yes=86, no=14), "SG": Country(yes=82, no=18)}
    assert sentence(replace(OTPS, hour=equal, yesterday={})) == "tencent: conversion 84 %"
    assert "BR" not in sentence(replace(OTPS, hour=equal, yesterday={"BR": Country(yes=89, no=11)}))


def test_three_countries_are_named() -> None:
    """However many there are, the line stays short."""
    many = {code: Country(yes=40 + i, no=60 - i) for i, code in enumerate(("AD", "AE", "AF", "AG"))}
    many["AI"] = Country(yes=94, no=6)
    assert sentence(replace(OTPS, hour=many, yesterday={})).endswith(
        "conversion 52 %, AD 40 %, AE 41 %, AF 42 %"
    )


def test_few_otps_have_no_rate() -> None:
    """A rate of fewer than 30 says nothing."""
    few = replace(OTPS, hour={"CN": Country(yes=20, no=9)})
    assert (
        sentence(few)
        == "tencent: no conversion rate here yet, 29 OTPs closed in the last full hour, of the 30 it takes; "
        "`otpreport conversion` has the hour under way"
    )
    unsent = Otps("tencent", 0)
    assert sentence(unsent) == "tencent: no conversion rate yet: verified OTPs are reported, and no Dispatch"
    assert (Conversion(20, 29).rate, Conversion(20, 29).interval) == (None, None)
    assert Conversion(20, 30).rate == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("verified", "closed", "low", "high"),
    [(50, 100, 0.404, 0.596), (0, 30, 0.0, 0.114), (30, 30, 0.886, 1.0), (7000, 10000, 0.691, 0.709)],
)
def test_the_interval(verified: int, closed: int, low: float, high: float) -> None:
    """Wilson's interval, against published values."""
    assert Conversion(verified, closed).interval == pytest.approx((low, high), abs=0.001)


def test_what_makes_a_rate_meaningless() -> None:
    """An app that says only half of it, and notices that nobody counts, are told."""
    assert list(troubles_of(OTPS)) == []
    [text] = troubles_of(Otps("tencent", 0, unmatched=7))
    assert text == "tencent: 7 OTPs verified, but never reported as sent: does the app report Dispatch?"
    [text] = troubles_of(Otps("tencent", 0, {"CN": Country(40, 0, 0, 40)}, unsaid=40))
    assert text == "tencent: none of 40 OTPs verified: has the app that reports verifications tracking=True?"
    [text] = troubles_of(replace(OTPS, waiting=3, lag=61.0))
    assert text == "OTPs of tencent are counted late: 3 notices, the oldest for 1m 1s"


def test_status_and_json_have_it() -> None:
    """A rate is information and no warning; a gap is trouble."""
    plain = account()
    tracked = replace(plain, seen=replace(plain.seen, otps=OTPS))
    fleet = look(tracked, workers=(worker(),))
    assert [(note.level, note.text) for note in notes(fleet)] == [(Severity.INFO, sentence(OTPS))]
    accounts: Any = record(fleet)["accounts"]
    found = accounts[0]["otps"]
    assert found["countries"]["BR"]["last_full_hour"] == {
        "closed": 100,
        "closed_verified": 41,
        "conversion_rate": 0.41,
    }
    assert found["countries"]["NG"]["last_full_hour"]["conversion_rate"] is None
    assert found["same_hour_yesterday"]["conversion_rate"] == 0.744
    assert (found["closed"], found["closed_verified"], found["sent_gap"]) == (1129, 821, 0)
    lost = replace(plain, seen=replace(plain.seen, otps=replace(OTPS, open=3)))
    [worst, *_] = notes(look(lost, workers=(worker(),)))
    assert (worst.level, worst.text) == (Severity.BAD, "2 OTPs unaccounted for: see `status --json`")
