"""The index template: how every monthly index of signals is mapped, and what the indices are named."""

import re
from datetime import UTC, datetime
from typing import Any

from elasticsearch import Elasticsearch, NotFoundError

from common.search.client import translated_errors

ALIAS = "signals"
TEMPLATE = "signals"
TEMPLATE_VERSION = 1
"""Raise it with every change of the template. Indices that exist keep their mapping until they are rebuilt."""

# Elasticsearch refuses a whole document for a keyword over 32,766 bytes. ignore_above counts characters, of at
# most four bytes each: longer ones stay in _source and are merely not found by that field.
_KEYWORD = {"type": "keyword", "ignore_above": 32_766 // 4}

_MONTHLY = re.compile(rf"{ALIAS}-\d{{4}}-\d{{2}}")

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


def index_name(received_at: datetime) -> str:
    """The monthly index of a signal that was received at this (aware) instant: ``signals-2026-11``."""
    instant = received_at.astimezone(UTC)
    return f"{ALIAS}-{instant.year:04}-{instant.month:02}"


@translated_errors()
def refresh(client: Elasticsearch) -> None:
    """Make all that was written so far visible to searches.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    client.indices.refresh(index=ALIAS, ignore_unavailable=True, allow_no_indices=True)


@translated_errors()
def drop_indices_before(client: Elasticsearch, cutoff: datetime) -> list[str]:
    """Delete the monthly indices whose month ended at or before the (aware) `cutoff`; returns their names.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    found = client.options(ignore_status=404).indices.get_alias(name=ALIAS)
    oldest_kept = index_name(cutoff)
    names = sorted(name for name in found.body if _MONTHLY.fullmatch(name) and name < oldest_kept)
    for name in names:
        client.options(ignore_status=404).indices.delete(index=name)
    return names


@translated_errors()
def ensure_template(client: Elasticsearch) -> None:
    """Put the index template unless it, or a newer one, is there; one small request if it is.

    An index that is created by its first document takes its mapping and the alias from the template, so this
    comes before every write: a server that lost its data is noticed before it guesses mappings. Safe to call
    from any number of processes at once.

    Raises:
        SearchUnavailableError: the server is away or busy.
    """
    if _stored_version(client) < TEMPLATE_VERSION:
        client.indices.put_index_template(
            name=TEMPLATE,
            index_patterns=[f"{ALIAS}-*"],
            priority=500,
            version=TEMPLATE_VERSION,
            template={
                "settings": {"index": {"number_of_shards": 1}},
                "aliases": {ALIAS: {}},
                "mappings": _MAPPINGS,
            },
        )


def _stored_version(client: Elasticsearch) -> int:
    try:
        found = client.indices.get_index_template(name=TEMPLATE)
    except NotFoundError:
        return 0
    return int(found["index_templates"][0]["index_template"].get("version", 0))
