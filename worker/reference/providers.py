"""The blocks of docs/providers.md: what the providers' files say of themselves, and what only their pages say."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from config.duration import written
from config.reference import provider_rows
from providers.base import Provider
from providers.registry import REGISTRY
from worker.reference.page import Blocks, code, table

UNVERIFIED = {
    "reported": "reported",
    "implied": "skipped: silence says it",
    "unsayable": "skipped: no word for it",
}
_SOURCES = re.compile(r"Sources?: (.*?)\.(?= [A-Z]|$)")


class ProviderNote(NamedTuple):
    """What a provider's pages say, and nothing in the code needs to know."""

    counted: str
    """Whose requests are counted together."""
    time: str
    """How a report says when the code was entered."""
    enable: str
    """What has to be switched on, and how a message has to be sent."""


_NO_TIME = "none"
_MS = "ms, or left out"
_MS_REQUIRED = "ISO 8601 with ms, required"
NOTES: Mapping[str, ProviderNote] = {
    "8x8": ProviderNote(
        "sub-account; 3000/s for each IP address", "ISO 8601 with ms, or left out", "nothing; not for SMPP"
    ),
    "alibaba": ProviderNote("main account", _MS, "nothing"),
    "alibaba_cn": ProviderNote("main account", _MS, "nothing"),
    "aws": ProviderNote(
        "account and region: give the keys of one AWS account one `RATE_GROUP` for each region",
        _NO_TIME,
        "`MessageFeedbackEnabled` when sending, or on the configuration set",
    ),
    "bird": ProviderNote(
        "workspace (assumed)", "ISO 8601 with ms, or left out", "a workspace on the Channels API"
    ),
    "byteplus": ProviderNote("main account", _NO_TIME, "the SMS service"),
    "infobip": ProviderNote(
        "API key", _NO_TIME, "`options.conversionTracking.useConversionTracking` when sending"
    ),
    "messagebird": ProviderNote("access key (assumed)", _NO_TIME, "not known"),
    "plivo": ProviderNote("auth id", _MS_REQUIRED, "`trackable` when sending"),
    "sinch": ProviderNote(
        "service plan: requests that are open (`MAX_IN_FLIGHT`)", _NO_TIME, "`feedback_enabled` on the batch"
    ),
    "telesign": ProviderNote("customer id, by contract", _NO_TIME, "SMS Verify with codes of your own"),
    "tencent": ProviderNote("main account", "seconds, or left out", "nothing"),
    "twilio": ProviderNote(
        "account: requests that are open (`MAX_IN_FLIGHT`)", _NO_TIME, "`ProvideFeedback` when sending"
    ),
    "twilio_verify": ProviderNote(
        "account: requests that are open (`MAX_IN_FLIGHT`)", _NO_TIME, "a service with custom codes"
    ),
    "volcengine": ProviderNote("main account", _NO_TIME, "the SMS service"),
    "vonage": ProviderNote(
        "API key", "`YYYY-MM-DD hh:mm:ss`, UTC, required", "by Vonage's support, for the API key"
    ),
}


def blocks() -> Blocks:
    """Return both tables, a line for each provider."""
    kinds = [REGISTRY[name] for name in sorted(REGISTRY)]
    return {
        "providers": table(
            ("provider", "call", "requests/s", "counted by", "a code never entered", "deadline"),
            (_call(kind) for kind in kinds),
        ),
        "provider-needs": table(
            ("provider", "to be switched on", "time of the report", "settings", "sources"),
            (_needs(kind) for kind in kinds),
        ),
    }


def _call(kind: type[Provider]) -> tuple[str, ...]:
    limit = f"{kind.rate_limit}" if kind.documents_rate else f"{kind.rate_limit} to begin with"
    deadline = written(kind.deadline) if kind.deadline else "none"
    return (
        code(kind.name),
        _described(kind).partition("\n")[0].removesuffix("."),
        limit,
        NOTES[kind.name].counted,
        UNVERIFIED[kind.unverified],
        deadline,
    )


def _needs(kind: type[Provider]) -> tuple[str, ...]:
    note = NOTES[kind.name]
    return code(kind.name), note.enable, note.time, ", ".join(_settings(kind)), _sources(kind)


def _settings(kind: type[Provider]) -> Iterator[str]:
    if not kind.endpoint:
        yield code("ENDPOINT")
    for row in provider_rows(kind):
        name = code(row.toml.upper())
        yield name if row.default == "required" else f"({name})"


def _sources(kind: type[Provider]) -> str:
    found = _SOURCES.search(" ".join(_described(kind).split()))
    return found[1] if found else ""


def _described(kind: type[Provider]) -> str:
    return (sys.modules[kind.__module__].__doc__ or "").strip()
