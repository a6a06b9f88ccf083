"""OTPs: the share that users verify, by account and country, and how fast."""

from __future__ import annotations

from deploy.dashboard.look import GREEN, GREY, ORANGE, RED, YELLOW, Steps
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import Query, fleet, select
from deploy.dashboard.rows.row import PER_ACCOUNT, Row

_WINDOW = "10m"
_PLACE = "{{account}} {{country}}"
_LAG = 60
"""Seconds of lag from which OtpreportOtpNoticesLate fires."""


def _grown(metric: str, by: str, window: str = _WINDOW, at: str = "", **labels: str) -> str:
    """Return how much a counter of the exporter grew, once however many exporters tell it."""
    each = "account, country, verified" if "closed" in metric else "account, country"
    return f"sum by ({by}) (max by ({each}) (increase({select(metric, **labels)}[{window}]{at})))"


def _rate(by: str) -> str:
    return f"{_grown('otps_closed_total', by, verified='yes')} / ({_grown('otps_closed_total', by)} > 0)"


def _largest(metric: str) -> str:
    """Return the ten largest countries of the whole time shown, so that no line comes and goes."""
    grown = _grown(metric, "account, country", "$__range", " @ end()")
    return f"topk(10, {grown} > 0)"


_BUCKETS = f"sum by (le) (increase({select('otp_verification_seconds_bucket')}[{_WINDOW}]))"
_REPORTS = f"max by (account, result) (increase({select('unverified_reports_total')}[{_WINDOW}]))"

CONVERSION = Row(
    "Conversion",
    (
        Panel(
            "Conversion rate",
            "Of the OTPs whose time ended in ten minutes, the share that users verified. It lags by an OTP's time. "
            "Only accounts whose app reports OTPs as sent.",
            "percentunit",
            (Query(_rate("account"), PER_ACCOUNT),),
            8,
            most=1,
            fill=0,
        ),
        Panel(
            "Conversion rate by country",
            "The ten countries with most OTPs. Compare a country with its own past: routes differ.",
            "percentunit",
            (
                Query(
                    f"({_rate('account, country')}) and {_largest('otps_closed_total')}",
                    _PLACE,
                ),
            ),
            8,
            most=1,
            fill=0,
        ),
        Panel(
            "OTPs sent by country",
            "In ten minutes, the ten largest. A burst to a country that nobody verifies looks like SMS pumping.",
            "short",
            (
                Query(
                    f"{_grown('otps_sent_total', 'account, country')} and {_largest('otps_sent_total')}",
                    _PLACE,
                ),
            ),
            8,
            fill=0,
        ),
        Panel(
            "Time from sent to verified",
            "SMS delivery and typing; a route that delivers late shows here first.",
            "s",
            tuple(Query(f"histogram_quantile({q}, {_BUCKETS})", f"p{q * 100:.0f}") for q in (0.5, 0.95)),
            8,
            colours={"p50": GREEN, "p95": YELLOW},
        ),
        Panel(
            "Automatic reports of OTPs not verified",
            "In ten minutes: queued for the provider, withheld for lack of room, unsaid where none is wanted, refused.",
            "short",
            (Query(f"sum by (result) ({_REPORTS})", "{{result}}"),),
            8,
            colours={"queued": GREEN, "withheld": ORANGE, "unsaid": GREY, "refused": RED},
        ),
        Panel(
            "Notices not counted yet",
            "Age of the oldest. Meanwhile rates are old and no OTP is closed; reports go on.",
            "s",
            (Query(fleet("otp_notice_lag_seconds", "account"), PER_ACCOUNT),),
            8,
            steps=Steps(GREEN, ((_LAG, RED),)),
            line=True,
        ),
    ),
)
