"""What an API key looks like, and what of it is kept.

A key is ``sspp_live_<prefix>_<secret>``, or ``sspp_pub_…`` if it is publishable. The prefix is no secret: it finds the
row, and names the key in logs and listings. Only the SHA-256 of the whole key is stored; the secret part is random
enough, 256 bits, that a slow hash would add nothing.
"""

import base64
import hashlib
import re
import secrets
from typing import Literal

Kind = Literal["secret", "publishable"]

# Without a mark: keys from before there were kinds.
_KEY = re.compile(r"sspp_(?:live_|pub_)?([a-z2-7]{8,12})_[A-Za-z0-9_-]{32,128}")
_MARKS: dict[Kind, str] = {"secret": "live", "publishable": "pub"}


def new_key(kind: Kind = "secret") -> tuple[str, str, bytes]:
    """Make a key: the whole of it, which is shown once and never stored, its prefix and its digest."""
    prefix = base64.b32encode(secrets.token_bytes(10)).decode().lower()[:10]
    secret = f"sspp_{_MARKS[kind]}_{prefix}_{secrets.token_urlsafe(32)}"
    return secret, prefix, digest(secret)


def parse_prefix(secret: str) -> str | None:
    """The prefix of a key; None if `secret` does not have the form of a key."""
    match = _KEY.fullmatch(secret)
    return match[1] if match else None


def digest(secret: str) -> bytes:
    """The SHA-256 of the whole key, 32 bytes. Compare with `hmac.compare_digest`."""
    return hashlib.sha256(secret.encode()).digest()
