"""The envelope of an event and its identity: what the API checks and what the workers rely on."""

import hashlib
import os
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from common.errors import InvalidEventError

MAX_ID_CHARACTERS = 200
EVENT_TYPE = re.compile(r"[a-z][a-z0-9_.]{0,99}")

# RFC 3339, section 5.6. Digits beyond microseconds are cut: PostgreSQL and Python keep six.
_INSTANT = re.compile(
    r"(\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}):(\d{2})(?:\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_EMPTY_PAIR = re.compile(rb"\{\}|\[\]")
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
# Version and variant of a UUIDv8, and all other bits.
_UUID8_BITS = 0x8 << 76 | 0x2 << 62
_UUID8_MASK = ~(0xF << 76 | 0x3 << 62)
# Of a hexadecimal digit the last two bits, below those of the variant.
_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
_EVENT_KEY_MASK = _UUID8_MASK & ~0xFF
_MISFIT = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)


class Envelope(msgspec.Struct, frozen=True):
    """A checked envelope.

    `event_id` and `occurred_at` (RFC 3339, kept as written) may be absent: the API makes the former up and the
    latter falls back to the instant of reception. `data` is the JSON text of an object, not yet parsed.
    """

    event_type: str
    customer_id: str
    data: msgspec.Raw
    event_id: str | None = None
    occurred_at: str | None = None
    trace_id: str | None = None


_decode = msgspec.json.Decoder(Envelope).decode


def parse_envelope(raw: bytes, *, max_nesting: int) -> Envelope:
    """Parse and check the envelope of one event.

    Args:
        raw: one JSON text, as received. Fields that the envelope does not know are ignored (and kept in the raw
            log); of a repeated field the last counts.
        max_nesting: deepest nesting of objects and arrays, the envelope itself being level 1.

    Returns:
        The envelope. Afterwards `raw` is known to be valid UTF-8 and valid JSON, its numbers aside.

    Raises:
        InvalidEventError: with code ``invalid_json``, ``invalid_envelope``, ``invalid_occurred_at`` or
            ``nesting_too_deep``, and the path of the offending field.
    """
    envelope = parse_envelope_but_instant(raw, max_nesting=max_nesting)
    if envelope.occurred_at is not None:
        parse_instant(envelope.occurred_at)
    return envelope


def parse_envelope_but_instant(raw: bytes, *, max_nesting: int) -> Envelope:
    """Like `parse_envelope`, but leaves `occurred_at` unchecked: for those who parse it themselves."""
    try:
        raw.decode()  # msgspec does not look into strings that it skips
        envelope = _decode(raw)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)) from None
    except UnicodeDecodeError as error:
        raise InvalidEventError(
            "invalid_json", f"not valid UTF-8 at byte {error.start}; send the event as UTF-8"
        ) from None
    except msgspec.DecodeError as error:
        # Not the error itself, which would hold this frame and be held by it, with all that the callers have in hand.
        problem = "a lone surrogate is no character" if _SURROGATE.search(raw) else str(error)
        raise InvalidEventError("invalid_json", f"not valid JSON: {problem}") from None
    except RecursionError:
        raise _too_deep(max_nesting) from None

    _check_text(envelope.customer_id, "customer_id")
    if envelope.event_id is not None:
        _check_text(envelope.event_id, "event_id")
    if envelope.trace_id is not None:
        _check_text(envelope.trace_id, "trace_id")
    if not EVENT_TYPE.fullmatch(envelope.event_type):
        raise InvalidEventError(
            "invalid_envelope",
            "event_type takes lower-case letters, digits, '_' and '.', begins with a letter and has at most"
            " 100 characters",
            "/event_type",
        )
    if not bytes(memoryview(envelope.data)[:1]) == b"{":
        raise InvalidEventError("invalid_envelope", "data must be a JSON object", "/data")
    # Counting brackets is far cheaper than walking, and most events have fewer than may even be nested.
    if raw.count(b"{") + raw.count(b"[") > max_nesting and nesting(raw) > max_nesting:
        raise _too_deep(max_nesting)
    return envelope


def parse_instant(text: str, path: str = "/occurred_at") -> datetime:
    """Parse an RFC 3339 date-time into an aware datetime in UTC, from year 1 to 9999.

    A leap second (``:60``) counts as the first instant of the next minute.

    Raises:
        InvalidEventError: with code ``invalid_occurred_at``.
    """
    match = _INSTANT.fullmatch(text)
    try:
        if match is None:
            raise ValueError("expected a form like 2026-11-21T10:30:00Z")
        if match[2] == "60":
            last_second = f"{match[1]}:59{match[3]}"
            return datetime.fromisoformat(last_second.upper()).astimezone(UTC) + timedelta(seconds=1)
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidEventError(
            "invalid_occurred_at",
            f"{path.rpartition('/')[2]} is no RFC 3339 instant between the years 1 and 9999 in UTC: {error}",
            path,
        ) from None


def nesting(raw: bytes) -> int:
    """How deeply objects and arrays nest in the valid JSON text `raw`; 0 for a scalar."""
    brackets = _STRING.sub(b"", raw).translate(None, _ALL_BUT_BRACKETS)
    depth = 0
    # Each round takes off the innermost level of every branch, far faster than a walk byte by byte.
    while brackets:
        brackets = _EMPTY_PAIR.sub(b"", brackets)
        depth += 1
    return depth


def new_event_id() -> str:
    """A fresh UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, 74 random bits."""
    # As text at once: a UUID object costs three times as much.
    time_, random = f"{time.time_ns() // 1_000_000:012x}", os.urandom(10).hex()
    variant = _VARIANT[random[3]]
    return f"{time_[:8]}-{time_[8:]}-7{random[:3]}-{variant}{random[4:7]}-{random[7:19]}"


def event_key(tenant_id: int, event_id: str) -> UUID:
    """The identity of an event: a UUIDv8 that hashes tenant and event id.

    114 bits of BLAKE2b; the last byte is zero and left to number the event's signals. Among 10^12 events the
    chance of any collision is about 10^-11.
    """
    return UUID(bytes=event_key_bytes(tenant_id, event_id))


def event_key_bytes(tenant_id: int, event_id: str) -> bytes:
    """The 16 bytes of `event_key`: what goes through the worker, as to make a UUID takes longer than to hash."""
    digest = hashlib.blake2b(event_id.encode(), digest_size=16, salt=tenant_id.to_bytes(16)).digest()
    return (int.from_bytes(digest) & _EVENT_KEY_MASK | _UUID8_BITS).to_bytes(16)


def uuid8(digest: bytes) -> UUID:
    """A UUIDv8 (RFC 9562, section 5.8) of the 16 bytes `digest`, of which it keeps 122 bits."""
    return UUID(int=int.from_bytes(digest) & _UUID8_MASK | _UUID8_BITS)


def signal_id(key: UUID, number: int) -> UUID:
    """The id of an event's signal `number` (0 to 255)."""
    return UUID(bytes=signal_id_bytes(key.bytes, number))


def signal_id_bytes(key: bytes, number: int) -> bytes:
    """The 16 bytes of `signal_id`, from those of the event's key."""
    if not 0 <= number <= 0xFF:
        raise ValueError(f"an event has at most 256 signals, numbered from 0; got number {number}")
    return key[:15] + number.to_bytes()


def event_key_of(signal: UUID) -> UUID:
    """The event key that a signal id was made from."""
    return UUID(int=signal.int & ~0xFF)


def _check_text(text: str, name: str) -> None:
    if not 1 <= len(text) <= MAX_ID_CHARACTERS or "\0" in text:
        raise InvalidEventError(
            "invalid_envelope",
            f"{name} takes 1 to {MAX_ID_CHARACTERS} characters, none of them U+0000",
            f"/{name}",
        )


def _misfit(message: str) -> InvalidEventError:
    """Turn msgspec's ``Expected `str`, got `int` - at `$.event_id``` into a refusal with a JSON Pointer."""
    match = _MISFIT.fullmatch(message)
    problem, where = match.groups(default="") if match else (message, "")
    path = where.replace(".", "/")
    if not path and "missing required field" not in problem:
        problem = f"an event is a JSON object: {problem}"
    return InvalidEventError("invalid_envelope", problem.replace("`", "'"), path)


def _too_deep(max_nesting: int) -> InvalidEventError:
    return InvalidEventError("nesting_too_deep", f"objects and arrays nest deeper than {max_nesting} levels")
