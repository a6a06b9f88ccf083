"""Rate limits, their use, and the wait for slots."""

from __future__ import annotations

from deploy.dashboard.look import GREEN, RED, Steps
from deploy.dashboard.panel import Panel
from deploy.dashboard.query import Query, fleet, growth, quantiles
from deploy.dashboard.rows.row import AGES, EFFECTIVE, PER_ACCOUNT, USED, Row

_LIMITS = fleet("rate_limit_per_second", "account, kind", kind="~configured|effective")
# topk: two exporters with different settings may name two groups of one account, and a join with both would fail
_ONE_GROUP = f"topk by (account) (1, {fleet('rate_group_info', 'account, group')})"
_GROUP = f"on (account) group_left (group) {_ONE_GROUP}"
_SHARE = f"sum by (group) ({USED} * {_GROUP}) / max by (group) ({EFFECTIVE} * {_GROUP})"
_LIMIT, _OPEN = (fleet("rate_group_requests", "account", kind=kind) for kind in ("limit", "used"))
_THROTTLED = growth("attempts_total", "account", result="throttled")

RATE = Row(
    "Rate",
    (
        Panel(
            "Rate: configured, effective, used",
            "Requests per second. Effective: the configured limit (dashed) after throttling, an operator's limit "
            "or the "
            "ramp after an outage. Accounts of one rate group share it.",
            "reqps",
            (Query(_LIMITS, "{{account}} {{kind}}"), Query(USED, "{{account}} used")),
            12,
            fill=0,
            dashed=" configured$",
        ),
        Panel(
            "Share of the effective rate used",
            "By rate group, named after its first account. Near 100 % the rate limit is the bottleneck, and more "
            "workers "
            "would not help.",
            "percentunit",
            (Query(_SHARE, "{{group}}"),),
            12,
            steps=Steps(GREEN, ((1, RED),)),
            line=True,
        ),
        Panel(
            "Wait for a slot",
            "From lease to permission to send.",
            "s",
            quantiles("admission_wait_seconds"),
            8,
            colours=AGES,
        ),
        Panel(
            "Requests in flight and their limit",
            "Of rate groups with MAX_IN_FLIGHT: the limit (dashed) and the requests that may be open. Near the limit, "
            "slower answers mean fewer reports, and more workers would not help.",
            "short",
            (
                Query(f"{_LIMIT} < Inf", "{{account}} limit"),
                Query(f"{_OPEN} and {_LIMIT} < Inf", "{{account}} open"),
            ),
            8,
            fill=0,
            dashed=" limit$",
        ),
        Panel(
            "Throttled by the provider",
            "Share of requests refused for their rate. They use no attempt; the shared rate steps down.",
            "percentunit",
            (Query(f"{_THROTTLED} / {USED}", PER_ACCOUNT),),
            8,
        ),
    ),
)
