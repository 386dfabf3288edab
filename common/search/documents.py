"""Search documents: pure functions of rows of `signals`, so that PostgreSQL can rebuild each of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from common.clock import rfc3339
from common.search.template import index_name

DOCUMENT_VERSION = 1
"""Raise it when documents change shape: what is written then replaces older documents, never the reverse."""

MAX_TEXT_CHARACTERS = 16_384
"""Most characters of a document's ``text``; words beyond it are kept in ``data`` and not found by search."""

_SEPARATORS = str.maketrans("_.", "  ")


@dataclass(frozen=True, slots=True)
class SignalRow:
    """What a document needs of one row of `signals`, field by field as the columns are named.

    `signal_id` is the uuid's text and `data` the text of the jsonb, so that its numbers stay exact.
    """

    tenant_id: int
    signal_id: str
    event_id: str
    event_type: str
    customer_id: str
    signal_type: str
    signal_score: float
    occurred_at: datetime
    received_at: datetime
    trace_id: str | None
    amount: Decimal | None
    currency: str | None
    data: str


@dataclass(frozen=True, slots=True)
class Document:
    """One search document: where it belongs, and its ``_source`` as one line of JSON."""

    index: str
    id: str
    source: bytes


class _Source(msgspec.Struct):
    tenant_id: int
    signal_id: str
    event_id: str
    event_type: str
    customer_id: str
    signal_type: str
    signal_score: float
    occurred_at: str
    received_at: str
    trace_id: str | None
    amount: str | None
    currency: str | None
    data: msgspec.Raw
    text: str


_encode = msgspec.json.Encoder().encode


def document(row: SignalRow) -> Document:
    """The search document of `row`.

    ``_source`` is the signal as the API shows it, plus ``tenant_id`` and the searchable ``text``. The amount is
    an exact decimal string, and ``data`` goes in as the text that PostgreSQL gave.
    """
    amount = None if row.amount is None else f"{row.amount:f}"
    source = _Source(
        tenant_id=row.tenant_id,
        signal_id=row.signal_id,
        event_id=row.event_id,
        event_type=row.event_type,
        customer_id=row.customer_id,
        signal_type=row.signal_type,
        signal_score=row.signal_score,
        occurred_at=rfc3339(row.occurred_at),
        received_at=rfc3339(row.received_at),
        trace_id=row.trace_id,
        amount=amount,
        currency=row.currency,
        data=msgspec.Raw(row.data.encode()),
        text=_text(row, amount),
    )
    return Document(index_name(row.received_at), row.signal_id, _encode(source))


def _text(row: SignalRow, amount: str | None) -> str:
    """The words that find the signal: customer, types, money, and every string in its data."""
    words = [row.customer_id, row.event_type.translate(_SEPARATORS), row.signal_type.translate(_SEPARATORS)]
    if amount is not None and row.currency is not None:
        words += [amount, row.currency]
    length = sum(map(len, words)) + len(words)
    # Numbers are not looked at: jsonb holds some that no float or parser's limit does.
    for leaf in _strings(json.loads(row.data, parse_int=_ignored, parse_float=_ignored)):
        if length >= MAX_TEXT_CHARACTERS:
            break
        words.append(leaf)
        length += len(leaf) + 1
    return " ".join(words)[:MAX_TEXT_CHARACTERS]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _strings(member)
    elif isinstance(value, list):
        for member in value:
            yield from _strings(member)


def _ignored(_number: str) -> None:
    return None
