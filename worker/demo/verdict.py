"""Whether each OTP of the story was counted, and reported once, by Redis' books and by the provider's ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from tasks.fleet.snapshot import AccountSnapshot
from tasks.tracking.otps import Otps
from worker.demo.audit import Arrival


@dataclass(frozen=True, slots=True)
class Sent:
    """An OTP that the app sent; `verified`: its user entered it in time."""

    message_id: str
    verified: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The sums of the story, each line a title and a figure, and what is not accounted for."""

    lines: Sequence[tuple[str, str]]
    faults: list[str]

    def table(self) -> Table:
        """Return the final table."""
        result = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
        result.add_column("")
        result.add_column("", justify="right")
        for line in self.lines:
            result.add_row(*line)
        return result


def judge(sent: Sequence[Sent], account: AccountSnapshot, arrivals: Iterable[Arrival]) -> Verdict:
    """Compare what the app did, Redis' books and the provider's ledger."""
    otps = account.otps or Otps(account.name, account.now_ms)
    total = otps.total
    reports = Counter((arrival.message_id, arrival.verified) for arrival in arrivals if arrival.taken)
    reported = Counter(verified for _, verified in reports.elements())
    lines = (
        ("OTPs sent", f"{total.sent:,}"),
        ("  closed as verified / as not verified / still open", _apart(total.yes, total.no, otps.open)),
        (
            "  not verified: queued / withheld / unsaid / refused",
            _apart(otps.queued, otps.withheld, otps.unsaid, otps.refused),
        ),
        ("reports at the provider: verified / not verified", _apart(reported[True], reported[False])),
        (
            "unaccounted for: OTPs / not verified / reports",
            _apart(otps.sent_gap, otps.unverified_gap, account.gap),
        ),
    )
    return Verdict(lines, [*_gaps(sent, account, otps), *_reports(sent, reports)])


def _apart(*counts: int) -> str:
    return " / ".join(f"{count:,}" for count in counts)


def _gaps(sent: Sequence[Sent], account: AccountSnapshot, otps: Otps) -> Iterator[str]:
    total, verified = otps.total, sum(each.verified for each in sent)
    for what, count, expected in (
        ("sent", total.sent, len(sent)),
        ("closed as verified", total.yes, verified),
        ("closed as not verified", total.no, len(sent) - verified),
        ("of no known place", otps.sent_gap, 0),
        ("of no known report", otps.unverified_gap, 0),
        ("reports of no known place", account.gap, 0),
    ):
        if count != expected:
            yield f"{count} {what}, not {expected}"


def _reports(sent: Sequence[Sent], reports: Counter[tuple[str, bool]]) -> Iterator[str]:
    """Yield what the provider heard too often, or not, or wrongly: of each OTP one report, and the right one."""
    due = {(each.message_id, each.verified) for each in sent}
    if missing := due - reports.keys():
        yield f"{len(missing)} reports are missing, for example of {min(missing)[0]}"
    if wrong := reports.keys() - due:
        yield f"{len(wrong)} reports are wrong, for example of {min(wrong)[0]}"
    if twice := [key for key, count in reports.items() if count > 1]:
        yield f"{len(twice)} reports came more than once, for example of {min(twice)[0]}"
