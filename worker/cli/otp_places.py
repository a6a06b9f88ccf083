"""What `find` says of an OTP."""

from __future__ import annotations

from tasks.find.otps import ClosedOtp, EarlyOtp, NoticePlace, OpenOtp, OtpPlace
from worker.fleet.wording import iso, moment, span


def otp_sentence(place: OtpPlace, now_ms: int) -> str:
    """Return what is known, as far as Redis has it: of a verification only that there was one."""
    match place:
        case NoticePlace():
            what = "verified" if place.verified else "sent"
            return f"OTP {what} at {moment(place.at_ms)} UTC: told, and not yet noted by a worker"
        case OpenOtp():
            return f"OTP {_sent(place)} to {place.country}, {_state(place, now_ms)}"
        case EarlyOtp():
            waits = f"this is waited for until {moment(place.until_ms)} UTC"
            return f"OTP verified at {moment(place.verified_ms)} UTC, not told as sent: {waits}"
        case ClosedOtp():
            until = min(place.until_ms, now_ms)
            when = f"some time between {moment(place.from_ms)} and {moment(until)} UTC (the exact time is not kept)"
            return f"OTP closed as {_how(place)}, {when}"


def otp_fields(place: OtpPlace) -> dict[str, object]:
    """Return the same for a script."""
    match place:
        case NoticePlace():
            return {"place": "notice", "verified": place.verified, "at": iso(place.at_ms)}
        case OpenOtp():
            return {
                "place": "otp_open",
                "sent_at": iso(place.sent_ms),
                "expires_at": iso(place.expires_ms),
                "closes_at": iso(place.closes_ms),
                "country": place.country,
                "verified": place.verified,
            }
        case EarlyOtp():
            return {
                "place": "otp_early",
                "verified_at": iso(place.verified_ms),
                "until": iso(place.until_ms),
            }
        case ClosedOtp():
            return {
                "place": "otp_closed",
                "from": iso(place.from_ms),
                "until": iso(place.until_ms),
                "verified": place.verified,
                "told_as_sent": not place.unmatched,
            }


def _sent(otp: OpenOtp) -> str:
    return "sent" if otp.sent_ms is None else f"sent at {moment(otp.sent_ms)} UTC"


def _state(otp: OpenOtp, now_ms: int) -> str:
    left = (otp.expires_ms - now_ms) / 1000
    ends = f"expires at {moment(otp.expires_ms)} UTC (in {span(left)})"
    if left <= 0:
        ends = (
            f"expired at {moment(otp.expires_ms)} UTC, closes at {moment(otp.closes_ms)[11:]} or soon after"
        )
    return f"{'verified' if otp.verified else 'open: its code has not come back'}, {ends}"


def _how(otp: ClosedOtp) -> str:
    if otp.unmatched:
        return "verified, but never told as sent"
    return "verified (or so after its time was over)" if otp.verified else "not verified"
