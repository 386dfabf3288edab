"""Opaque cursors: where a list goes on, for that very list only."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from api.http.errors import ProblemError, invalid_parameter

_CHECK_BYTES = 6

Position = TypeVar("Position", bound=Sequence[object])

Serial = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""A number as PostgreSQL's integers count things, for positions."""


def encode_cursor(position: Sequence[object], scope: Sequence[object]) -> str:
    """A cursor to continue after `position`, the sort key of a page's last item.

    `scope` says which list it is of: its name, tenant and filters, all that must not change between pages.
    """
    payload = msgspec.msgpack.encode(position)
    return urlsafe_b64encode(_check(payload, scope) + payload).rstrip(b"=").decode()


def decode_cursor(cursor: str, scope: Sequence[object], position: type[Position]) -> Position:
    """The position in `cursor`, as a value of the type `position`, which the stores can take whoever made it.

    Raises:
        ProblemError: 422; the cursor was altered or belongs to another list or other filters.
    """
    try:
        decoded = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        check, payload = decoded[:_CHECK_BYTES], decoded[_CHECK_BYTES:]
        if check != _check(payload, scope):
            raise _unusable()
        found = msgspec.msgpack.decode(payload, type=position)
    except (ValueError, msgspec.DecodeError):
        raise _unusable() from None
    if any(isinstance(part, str) and "\0" in part for part in found):
        raise _unusable()
    return found


def _check(payload: bytes, scope: Sequence[object]) -> bytes:
    # Guards against mix-ups, not attackers: a forged cursor shows its tenant nothing that others do not.
    return hashlib.blake2b(msgspec.msgpack.encode([payload, scope]), digest_size=_CHECK_BYTES).digest()


def _unusable() -> ProblemError:
    return invalid_parameter(
        "cursor", "not a cursor of this list; pass next_cursor on as it came, with the same filters"
    )
