"""The index template: how every monthly index of signals is mapped, and what the indices are named."""

import re
from datetime import UTC, date, datetime
from typing import Any

from elasticsearch import Elasticsearch, NotFoundError

from common.search.client import translated_errors

ALIAS = "signals"
TEMPLATE = "signals"
TEMPLATE_VERSION = 2
"""Raise it with every change of the template. Indices that exist keep their mapping until `sspp reindex`."""

_INDEX_NAME = re.compile(rf"{ALIAS}-(?!0000)(\d{{4}})-(0[1-9]|1[0-2])(?:-g(\d+))?")

# Elasticsearch refuses a whole document for a keyword over 32,766 bytes. ignore_above counts characters, of at
# most four bytes each: longer ones stay in _source and are merely not found by that field.
_KEYWORD = {"type": "keyword", "ignore_above": 32_766 // 4}

_MAPPINGS: dict[str, Any] = {
    # A field that is not named here is a mistake of ours and must not become a mapping by itself.
    "dynamic": "strict",
    "properties": {
        "tenant_id": {"type": "keyword"},
        "signal_id": _KEYWORD,
        "event_id": _KEYWORD,
        "event_type": _KEYWORD,
        "customer_id": _KEYWORD,
        "signal_type": _KEYWORD,
        "signal_score": {"type": "float"},
        "trace_id": _KEYWORD,
        # Sent as an exact decimal string, which _source keeps; a number beyond doubles is only not searchable.
        "amount": {"type": "double", "ignore_malformed": True},
        "currency": _KEYWORD,
        "occurred_at": {"type": "date"},
        "received_at": {"type": "date"},
        # Tenants name the fields in here: to map them would let one tenant's types break another's.
        "data": {"type": "object", "enabled": False},
        "text": {"type": "text"},
    },
}


def index_name(received: date, generation: int = 1) -> str:
    """The index of the month of a day, or of an aware instant: ``signals-2026-11``, later ``signals-2026-11-g2``."""
    day = received.astimezone(UTC) if isinstance(received, datetime) else received
    name = f"{ALIAS}-{day.year:04}-{day.month:02}"
    return name if generation == 1 else f"{name}-g{generation}"


def month_of(index: str) -> date | None:
    """The first day of the month that an index is for; None if it is not named as `index_name` does."""
    match = _INDEX_NAME.fullmatch(index)
    return date(int(match[1]), int(match[2]), 1) if match else None


def generation_of(index: str) -> int:
    """Which of its month's indices it is, counted from 1; 0 if it is not named as `index_name` does."""
    match = _INDEX_NAME.fullmatch(index)
    return int(match[3] or 1) if match else 0


@translated_errors()
def ensure_template(client: Elasticsearch) -> None:
    """Put the index template unless it, or a newer one, is there; one small request if it is.

    An index takes its mapping from the template when it is created, which is always done on purpose, never by a
    first document. Whether it answers searches is none of the template's business: the alias goes to those indices
    that serve (`common.search.indices`). Safe to call from any number of processes at once.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    if _stored_version(client) < TEMPLATE_VERSION:
        client.indices.put_index_template(
            name=TEMPLATE,
            index_patterns=[f"{ALIAS}-*"],
            priority=500,
            version=TEMPLATE_VERSION,
            allow_auto_create=False,
            template={
                "settings": {"index": {"number_of_shards": 1}},
                # So that an index tells which template it was made by.
                "mappings": {"_meta": {"template_version": TEMPLATE_VERSION}, **_MAPPINGS},
            },
        )


def _stored_version(client: Elasticsearch) -> int:
    try:
        found = client.indices.get_index_template(name=TEMPLATE)
    except NotFoundError:
        return 0
    return int(found["index_templates"][0]["index_template"].get("version", 0))
