"""Search documents: pure functions of rows of `signals`, so that PostgreSQL can rebuild each of them."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from common.search.template import index_name

DOCUMENT_VERSION = 1
"""Raise it when documents change shape: what is written then replaces older documents, never the reverse."""

MAX_TEXT_CHARACTERS = 16_384
"""Most characters of a document's ``text``; words beyond it are kept in ``data`` and not found by search."""

_SEPARATORS = str.maketrans("_.", "  ")


class SignalRow(NamedTuple):
    """What a document needs of one row of `signals`, field by field as the columns are named, and in this order.

    `signal_id` is the uuid's text and `data` the text of the jsonb, so that its numbers stay exact. Instants are in
    UTC, as all our sessions are.
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


class Document(msgspec.Struct, frozen=True, gc=False):
    """One search document: where it belongs, and its ``_source`` as one line of JSON."""

    index: str
    id: str
    source: bytes


class _Source(msgspec.Struct, gc=False):
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
    amount: str | None
    currency: str | None
    data: msgspec.Raw
    text: str


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def document(row: SignalRow, index: str | None = None) -> Document:
    """The search document of `row`, in its month's first index unless another one is given.

    ``_source`` is the signal as the API shows it, plus ``tenant_id`` and the searchable ``text``. The amount is
    an exact decimal string, and ``data`` goes in as the text that PostgreSQL gave.
    """
    return Document(index or index_name(row.received_at), row.signal_id, source(row))


def source(row: SignalRow) -> bytes:
    """The ``_source`` alone, for whoever knows the index."""
    amount = None if row.amount is None else f"{row.amount:f}"
    return _encode(
        _Source(
            row.tenant_id,
            row.signal_id,
            row.event_id,
            row.event_type,
            row.customer_id,
            row.signal_type,
            row.signal_score,
            row.occurred_at,
            row.received_at,
            row.trace_id,
            amount,
            row.currency,
            msgspec.Raw(row.data.encode()),
            _text(row, amount),
        )
    )


def _text(row: SignalRow, amount: str | None) -> str:
    """The words that find the signal: customer, types, money, and every string in its data."""
    words = [row.customer_id, row.event_type.translate(_SEPARATORS), row.signal_type.translate(_SEPARATORS)]
    if amount is not None and row.currency is not None:
        words += [amount, row.currency]
    try:
        data = _decode(row.data)
    except msgspec.MsgspecError:
        # jsonb holds numbers that no float or parser's limit does. This parser can leave them alone, and takes
        # four times as long.
        data = json.loads(row.data, parse_int=_ignored, parse_float=_ignored)
    _collect_strings(data, words)
    return " ".join(words)[:MAX_TEXT_CHARACTERS]


def _collect_strings(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, dict):
        for member in value.values():
            _collect_strings(member, found)
    elif isinstance(value, list):
        for member in value:
            _collect_strings(member, found)


def _ignored(_number: str) -> None:
    return None
