"""How trace contexts travel with events: as text, in stream entries and outbox rows.

A context is its ``traceparent`` (W3C Trace Context, section 3.2), and after a space its ``tracestate``, if it has one.
Only sampled contexts travel: those of all other requests would lead to nothing.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

MOST_CONTEXTS = 128
"""Contexts that a batch's span links to, at most: OpenTelemetry's own default for the links of a span."""

_MOST_PACKED_BYTES = 8 * 1024  # 128 contexts without tracestate have 7 KiB
_MOST_CONTEXT_CHARACTERS = 55 + 1 + 512  # what W3C Trace Context asks everyone to pass on of a tracestate


def context_text(traceparent: str, tracestate: str = "") -> str:
    """A context as it travels; a `tracestate` of more than 512 characters stays behind."""
    if tracestate and len(traceparent) + 1 + len(tracestate) <= _MOST_CONTEXT_CHARACTERS:
        return f"{traceparent} {tracestate}"
    return traceparent


def pack_contexts(contexts: Iterable[str]) -> bytes:
    """The different ones of `contexts` as the field of a stream entry; what exceeds 8 KiB is left out."""
    packed: list[bytes] = []
    size = 0
    for context in dict.fromkeys(contexts):
        line = context.encode("ascii", "replace")
        size += len(line) + 1
        if size > _MOST_PACKED_BYTES:
            break
        packed.append(line)
    return b"\n".join(packed)


def unpack_contexts(fields: Iterable[bytes]) -> Iterator[str]:
    """Some of the different contexts that entries brought, `MOST_CONTEXTS` at most; nobody has checked them yet."""
    found: dict[str, None] = {}
    for field in fields:
        if field:
            found |= dict.fromkeys(field.decode("ascii", "replace").split("\n"))
        if len(found) >= MOST_CONTEXTS:
            break
    yield from islice(found, MOST_CONTEXTS)
