"""API keys: how one looks, and what of it is kept.

A key is ``sspp_<prefix>_<secret>``. The prefix is no secret: it finds the row, and names the key in logs and
listings. Only the SHA-256 of the whole key is stored; the secret part is random enough that a slow hash would
add nothing.
"""

import base64
import hashlib
import re
import secrets

SCOPES = ("ingest", "read", "admin")
"""What a key may allow: to send events, to read, to administer."""

_KEY = re.compile(r"sspp_([a-z2-7]{8,12})_[A-Za-z0-9_-]{32,128}")


def new_key() -> tuple[str, str, bytes]:
    """Make a key: the whole of it, which is shown once and never stored, its prefix and its digest."""
    prefix = base64.b32encode(secrets.token_bytes(10)).decode().lower()[:10]
    secret = f"sspp_{prefix}_{secrets.token_urlsafe(32)}"
    return secret, prefix, digest(secret)


def parse_prefix(secret: str) -> str | None:
    """The prefix of a key; None if `secret` does not have the form of a key."""
    match = _KEY.fullmatch(secret)
    return match[1] if match else None


def digest(secret: str) -> bytes:
    """The SHA-256 of the whole key, 32 bytes. Compare with `hmac.compare_digest`."""
    return hashlib.sha256(secret.encode()).digest()
