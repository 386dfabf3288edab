"""Seals: JSON that tells by a checksum of its own whether it is what was written."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from infrastructure.safekeeping.errors import CorruptedBackupError


def seal(values: Mapping[str, Any]) -> bytes:
    """`values` as indented JSON, with a checksum of them."""
    plain = msgspec.json.decode(msgspec.json.encode(values), type=dict[str, Any])
    return msgspec.json.format(msgspec.json.encode({**plain, "checksum": _checksum(plain)}), indent=1)


def unseal(content: bytes, what: str) -> dict[str, Any]:
    """What `seal` was given.

    Raises:
        CorruptedBackupError: this is not what was written.
    """
    try:
        values = msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        values = {}
    if values.pop("checksum", None) != _checksum(values):
        raise CorruptedBackupError(f"{what} is damaged: it is not what was written")
    return values


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()
