"""The conversion rate of the last hours: by account and country, or all accounts for one country."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.countries import COUNTRIES
from tasks.keyspace import naming
from tasks.tracking.hours import closed_in
from tasks.tracking.otps import Country
from worker.cli.errors import DONE, WRONG, CommandError
from worker.cli.screen import safe, screen, table, write_json
from worker.cli.session import Session, session
from worker.fleet.conversion import LEAST, Conversion, percent
from worker.fleet.wording import number

SHOWN = 10
"""Countries of an account that are shown, those with most OTPs."""

NOTHING = "No OTP was closed in that time: docs/conversion.md says how an app reports them."
OPEN = (
    "No OTP was closed in that time. Still open: {}. Each counts when its time is over: docs/conversion.md."
)


@dataclass(frozen=True, slots=True)
class ConversionRow:
    """One account's closed OTPs, to one country or to all (None)."""

    account: str
    country: str | None
    counts: Conversion


def conversion(*, country: str, hours: int, as_json: bool) -> int:
    """Print the rates, the best first where one country is named."""
    chosen = country.upper() or None
    if chosen is not None and chosen not in COUNTRIES:
        raise CommandError(WRONG, f"--country: {country} is no ISO 3166 code of two letters, as BR")
    with session(keyless=True) as opened:
        rows = _compared(opened, chosen, hours) if chosen else list(_all(opened, hours))
        still_open = 0 if rows else _still_open(opened)
    if as_json:
        write_json({"hours": hours, "country": chosen, "conversions": [_record(row) for row in rows]})
        return DONE
    console = screen()
    if not rows:
        console.print(OPEN.format(number(still_open)) if still_open else NOTHING)
        return DONE
    shown = table("account", "country", "conversion", "95 % interval", "verified", "closed", right=_FIGURES)
    for row in _shortened(rows):
        shown.add_row(*map(safe, _cells(row)))
    console.print(shown)
    if chosen:
        console.print(f"\n{verdict(rows, chosen)}")
    return DONE


_FIGURES = ("conversion", "95 % interval", "verified", "closed")


def verdict(rows: Sequence[ConversionRow], country: str) -> str:
    """Return which account converts best in a country, where chance does not explain it."""
    known = [(row, interval) for row in rows if (interval := row.counts.interval)]
    if len(known) < 2:
        return f"Nothing to compare: fewer than two accounts have {LEAST} closed OTPs in {country}."
    (best, (low, _)), (second, (_, high)) = known[:2]
    if low > high:
        return f"{best.account} converts best in {country}, beyond chance."
    return f"{best.account} and {second.account} may convert equally in {country}: their intervals overlap."


def _compared(opened: Session, country: str, hours: int) -> list[ConversionRow]:
    """Return each account's row for a country, the highest rate first, and those without a rate last."""
    every = _closed(opened, hours)
    rows = [
        ConversionRow(name, country, Conversion.of([counts[country]]))
        for name, counts in every
        if country in counts
    ]
    return sorted(rows, key=lambda row: -1.0 if row.counts.rate is None else row.counts.rate, reverse=True)


def _all(opened: Session, hours: int) -> Iterator[ConversionRow]:
    """Yield each account's row of all countries, then those of its countries, the largest first."""
    for name, counts in _closed(opened, hours):
        yield ConversionRow(name, None, Conversion.of(counts.values()))
        rows = (ConversionRow(name, code, Conversion.of([country])) for code, country in counts.items())
        yield from sorted(rows, key=lambda row: -row.counts.closed)


def _closed(opened: Session, hours: int) -> Iterator[tuple[str, Mapping[str, Country]]]:
    for name in opened.settings.accounts:
        if counts := closed_in(opened.client, opened.keys, name, hours):
            yield name, counts


def _still_open(opened: Session) -> int:
    untyped: Any = opened.client
    found = 0
    for name in opened.settings.accounts:
        key = opened.keys.open_otps(name)
        with naming(key):
            found += int(untyped.zcard(key))
    return found


def _shortened(rows: Sequence[ConversionRow]) -> Iterator[ConversionRow]:
    """Yield the rows without the small countries of an account."""
    at = 0
    for row in rows:
        at = 0 if row.country is None else at + 1
        if at <= SHOWN:
            yield row


def _cells(row: ConversionRow) -> tuple[str, ...]:
    interval = row.counts.interval
    between = "-" if interval is None else f"{interval[0] * 100:.0f} to {percent(interval[1])}"
    return (
        row.account,
        row.country or "all",
        percent(row.counts.rate),
        between,
        number(row.counts.verified),
        number(row.counts.closed),
    )


def _record(row: ConversionRow) -> dict[str, object]:
    counts = row.counts
    return {
        "account": row.account,
        "country": row.country,
        "closed": counts.closed,
        "closed_verified": counts.verified,
        "conversion_rate": None if counts.rate is None else round(counts.rate, 4),
        "interval": None if counts.interval is None else [round(bound, 4) for bound in counts.interval],
    }
