"""Whose an event is: the customer that it names, and the hash by which a forgotten one is known."""

import hashlib

import msgspec


class _Named(msgspec.Struct):
    customer_id: str


_decode = msgspec.json.Decoder(_Named).decode


def customer_of(raw: bytes) -> str | None:
    """The customer id in a raw event; None if there is none to be found."""
    try:
        return _decode(raw).customer_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def customer_hash(tenant_id: int, customer_id: str) -> bytes:
    """16 bytes of BLAKE2b that stand for a customer of a tenant.

    A pseudonym, no secret: who has an id in mind can find out whether it is the one.
    """
    return hashlib.blake2b(
        customer_id.encode(), digest_size=16, salt=tenant_id.to_bytes(16), person=b"sspp customer"
    ).digest()
