"""The reference page of the sales signals, made from the schemas and the rules themselves.

``python -m worker.domains.sales.reference > docs/reference/sales_signals.md`` writes it anew.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from worker.domains.domain import EventType
from worker.domains.sales import DOMAIN
from worker.domains.sales.rules import RULES

_INTRODUCTION = """\
# Sales signals

<!-- Generated: python -m worker.domains.sales.reference > docs/reference/sales_signals.md -->

Every sales event gives one signal; `customer_updated` gives none and changes the customer's profile instead.
The rules of a type are tried from top to bottom, and the first one that fits decides. Words are compared whole,
without regard to case; in a field with a fixed meaning spaces and punctuation do not matter either (`No show` is
`no_show`).

The **score** says how strong a signal is of its kind, from 0 to 1: for `churn_risk`, how strong the warning. It
follows from what happened and never from the amount: ten thousand yen and ten thousand pounds are not the same, and
the money itself is kept exactly, beside the score.

**Money** is `amount`, a JSON number or a decimal string, not negative and below 10^15, and `currency` (ISO 4217); an
amount never comes without its currency. The signal carries both, the amount to its last digit.
Only a `purchase` adds to the customer's total in that currency, and only a `refund` lowers it: a quote that was
accepted is followed by a purchase and must not count twice.

| event type | when | signal type | score | customer's total |
|---|---|---|---|---|
"""

_DATA = """
## What `data` may hold

A field is optional unless it says otherwise, since the envelope already tells who did what and when; but a
`customer_updated` has at least one of its fields. Known fields have the types below. Further fields are welcome, and
are stored and shown as they came. The exact schemas are what `GET /v1/event-types` answers.
"""

_TOTALS: Mapping[str, str] = {"purchase": "plus `amount`", "refund": "minus `amount`"}


def render() -> str:
    """The whole page as Markdown: the rules of every sales event type, then the fields of its newest schema."""
    newest = {event_type.name: event_type for event_type in DOMAIN.event_types}
    lines = [row for name in RULES for row in _rule_rows(name)]
    return _INTRODUCTION + "\n".join(lines) + "\n" + _DATA + "".join(_section(newest[name]) for name in RULES)


def _rule_rows(name: str) -> Iterator[str]:
    if not RULES[name]:
        yield f"| `{name}` | always | none: changes the profile | | |"
    for number, rule in enumerate(RULES[name]):
        when = str(rule.when or ("otherwise" if number else "always"))
        yield f"| `{name}` | {when} | {rule.signal_type} | {rule.score:g} | {_TOTALS.get(name, '')} |"


def _section(event_type: EventType) -> str:
    schema = event_type.schema
    required = set(schema.get("required", ()))
    rows = "".join(
        f"| `{field}` | {_type_of(definition)}{', required' if field in required else ''}"
        f" | {definition['description']} |\n"
        for field, definition in schema["properties"].items()
    )
    table = f"| field | type | meaning |\n|---|---|---|\n{rows}"
    return f"\n### `{event_type.name}` (version {event_type.version})\n\n{event_type.description}\n\n{table}"


def _type_of(definition: Mapping[str, Any]) -> str:
    types = definition["type"]
    return types if isinstance(types, str) else " or ".join(types)


if __name__ == "__main__":
    sys.stdout.write(render())
