"""The objectives, and the rules that watch them: recorded error ratios and alerts on how fast error budgets burn.

The windows and factors are those of Google's SRE workbook, chapter "Alerting on SLOs": an alert needs a long window,
so that it is worth it, and a short one, so that it ends soon after the trouble does.
"""

from dataclasses import dataclass

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise: of what `total` counts, the share `target` is not `bad`.

    Both are PromQL, with ``[w]`` in the place of the window.
    """

    name: str
    text: str
    target: float
    bad: str
    total: str


_ACCEPTING = 'sspp_http_requests_total{method="POST", route="/v1/events"'
_ANSWERING = 'sspp_http_request_duration_seconds_%s{method="POST", route="/v1/events"%s}'


def _slower(histogram: str, bound: str, name: str, text: str, target: float) -> Objective:
    """Of a histogram, what exceeds `bound`, one of its buckets' bounds as Prometheus writes it."""
    total = f"sum(rate({histogram % ('count', '')}[w]))"
    label = f', le="{bound}"' if "{" in histogram % ("", "") else f'{{le="{bound}"}}'
    return Objective(name, text, target, f"{total} - sum(rate({histogram % ('bucket', label)}[w]))", total)


OBJECTIVES: tuple[Objective, ...] = (
    Objective(
        "accepting",
        "99.9 % of requests with events are not answered with a 5xx",
        0.999,
        f'sum(rate({_ACCEPTING}, status=~"5.."}}[w])) or vector(0)',
        f"sum(rate({_ACCEPTING}}}[w]))",
    ),
    _slower(_ANSWERING, "0.25", "answering", "99 % of requests with events are answered in 250 ms", 0.99),
    _slower("sspp_store_lag_seconds_%s%s", "10.0", "storing", "99.9 % of events are stored in 10 s", 0.999),
    _slower(
        "sspp_index_lag_seconds_%s%s", "30.0", "searching", "99 % of signals are searchable in 30 s", 0.99
    ),
)


@dataclass(frozen=True, slots=True)
class Burn:
    """An alert: the budget of 30 days burns `factor` times too fast, over both windows."""

    factor: float
    long: str
    short: str


FAST = (Burn(14.4, "1h", "5m"), Burn(6, "6h", "30m"))
SLOW = (Burn(3, "1d", "2h"), Burn(1, "3d", "6h"))

_HEAD = """\
# Written by python -m infrastructure.monitoring.generate, from infrastructure/monitoring/slos.py.
groups:
  - name: sspp.slo.recording
    rules:
"""

_ALERTS = """
  - name: sspp.slo.alerts
    rules:
      - alert: SsppBudgetBurnsFast
        expr: |
{fast}
        labels: {{severity: critical}}
        annotations:
          summary: >-
            The objective {{{{ $labels.slo }}}}: {{{{ $value | humanizePercentage }}}} fall short, and the budget of
            30 days is gone within days.
          runbook: docs/runbooks/SsppBudgetBurnsFast.md
      - alert: SsppBudgetBurnsSlowly
        expr: |
{slow}
        for: 1h
        labels: {{severity: warning}}
        annotations:
          summary: >-
            The objective {{{{ $labels.slo }}}}: {{{{ $value | humanizePercentage }}}} fall short, and the budget
            of 30 days will not last.
          runbook: docs/runbooks/SsppBudgetBurnsSlowly.md
"""


def render_rules() -> str:
    """The rule file, as Prometheus reads it."""
    rules = [_HEAD]
    for objective in OBJECTIVES:
        rules.append(f"      # {objective.text}.\n")
        rules.append(_record("sspp:slo_budget:ratio", f"vector({1 - objective.target:.6g})", objective))
        for window in WINDOWS:
            ratio = f"({objective.bad})\n            / {objective.total}".replace("[w]", f"[{window}]")
            rules.append(_record(f"sspp:slo_errors:ratio_rate{window}", ratio, objective))
    rules.append(_ALERTS.format(fast=_condition(FAST), slow=_condition(SLOW)))
    return "".join(rules)


def _record(name: str, expression: str, objective: Objective) -> str:
    return f"""\
      - record: {name}
        expr: |
          {expression}
        labels: {{slo: {objective.name}}}
"""


def _condition(burns: tuple[Burn, ...]) -> str:
    return "\n          or\n".join(
        f"          (sspp:slo_errors:ratio_rate{burn.long} > on (slo) {burn.factor:g} * sspp:slo_budget:ratio\n"
        f"            and on (slo) sspp:slo_errors:ratio_rate{burn.short} > on (slo)"
        f" {burn.factor:g} * sspp:slo_budget:ratio)"
        for burn in burns
    )
