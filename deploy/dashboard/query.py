"""Questions to Prometheus in PromQL, and the selectors and aggregations that many of them share."""

from __future__ import annotations

from dataclasses import dataclass

ACCOUNT = 'account=~"$account"'
INSTANCE = 'instance=~"$instance"'
ALL = ""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression; `legend` names each series by its labels, e.g. `{{account}}`.

    It is asked for the whole time shown, `at_once` only for its end.
    """

    expr: str
    legend: str
    heatmap: bool = False
    at_once: bool = False


def select(metric: str, scope: str = ACCOUNT, **labels: str) -> str:
    """Return the selector of a metric of ours, within what is chosen; labels may begin with `!`, `~` or `!~`."""
    chosen = [scope] if scope else []
    return f"otpreport_{metric}{{{','.join(chosen + [_matcher(*label) for label in labels.items()])}}}"


def fleet(metric: str, by: str, **labels: str) -> str:
    """Return a figure of the exporter by these labels, once however many exporters tell it."""
    return f"max by ({by}) ({select(metric, **labels)})"


def each_fleet(metric: str, by: str = "fleet", **labels: str) -> str:
    """Return a figure that the exporter tells of no account, once for each Redis that has exporters of its own."""
    return f"max by ({by}) ({select(metric, ALL, **labels)})"


def growth(metric: str, by: str, scope: str = ACCOUNT, **labels: str) -> str:
    """Return how fast a counter grows a second, of all workers together, by these labels."""
    return f"sum by ({by}) (rate({select(metric, scope, **labels)}[$__rate_interval]))"


def quantiles(metric: str) -> tuple[Query, ...]:
    """Return the median, 95th and 99th percentile of a histogram."""
    buckets = growth(f"{metric}_bucket", "le")
    return tuple(Query(f"histogram_quantile({q}, {buckets})", f"p{q * 100:.0f}") for q in (0.5, 0.95, 0.99))


def _matcher(label: str, value: str) -> str:
    for operator in ("!~", "!", "~"):
        if value.startswith(operator):
            sign = {"!~": "!~", "!": "!=", "~": "=~"}[operator]
            return f'{label}{sign}"{value.removeprefix(operator)}"'
    return f'{label}="{value}"'
