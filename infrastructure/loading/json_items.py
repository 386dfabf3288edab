"""Cutting JSON of any length into its items without parsing it: exact text in, exact text out."""

import re
from collections.abc import Callable, Iterator

from infrastructure.loading.errors import LoadError

MAX_ITEM_BYTES = 16 * 1024 * 1024
"""The longest item or line that is looked at; a longer one means that the file is not what it seems."""

_OUTSIDE_STRING = re.compile(rb'["{}\[\],]')
_INSIDE_STRING = re.compile(rb'["\\]')
_BLANK = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"


def split_items(read: Callable[[], bytes]) -> Iterator[bytes]:
    """Yield the text of each item of a JSON array, or of each of several objects one after another.

    `read` returns the next chunk, of any length, and ``b""`` at the end. Only brackets, commas and strings are
    looked at, so an item may turn out to be invalid JSON: that is for the caller to find out, and does no harm
    to its neighbours. Memory holds one item and one chunk.

    Raises:
        LoadError: the text is cut off, an item is longer than `MAX_ITEM_BYTES`, or something follows the
            array; the items before that have been yielded.
    """
    text = _Text(_first_text(read))
    yield from text.items()
    while not text.ended:
        if text.pending > MAX_ITEM_BYTES:
            raise LoadError(f"A JSON item is longer than {MAX_ITEM_BYTES:,} bytes; a quote may be missing.")
        chunk = read()
        if not chunk:
            break
        text.append(chunk)
        yield from text.items()
    if text.in_array and not text.ended:
        raise LoadError("The JSON is cut off: its array does not end.")
    rest = text.rest()
    while rest or (rest := read()):
        if rest.strip(_BLANK):
            raise LoadError(
                "Something follows the JSON array."
                if text.in_array
                else "The JSON is cut off within an object."
            )
        rest = b""


class _Text:
    """The part of the text that is in memory, and where in it the search for the next item stands."""

    def __init__(self, start: bytes) -> None:
        self.in_array = start.startswith(b"[")
        self.ended = False
        self._buffer = start
        self._start = self._position = int(self.in_array)
        self._depth = self._items = 0
        self._in_string = False

    @property
    def pending(self) -> int:
        """The length of the item that is not complete yet."""
        return len(self._buffer) - self._start

    def append(self, chunk: bytes) -> None:
        """Add `chunk` and let go of the items before it."""
        self._position = max(self._position, len(self._buffer)) - self._start
        self._buffer, self._start = self._buffer[self._start :] + chunk, 0

    def rest(self) -> bytes:
        """What is left after the last item."""
        return self._buffer[self._start :]

    def items(self) -> Iterator[bytes]:
        """The items that are complete; sets `ended` when the array is."""
        while match := (_INSIDE_STRING if self._in_string else _OUTSIDE_STRING).search(
            self._buffer, self._position
        ):
            token, self._position = match.group(), match.end()
            if self._in_string and token == b"\\":
                self._position += 1  # whatever is escaped does not end the string
            elif token == b'"':
                self._in_string = not self._in_string
            elif token in b"{[":
                self._depth += 1
            elif token == b",":
                if self.in_array and self._depth == 0:
                    yield self._cut(before_token=True)
            elif self._depth:
                self._depth -= 1
                if self._depth == 0 and not self.in_array:
                    yield self._cut()
            else:
                last, self.ended = self._cut(before_token=True), self.in_array
                if last or self._items > 1 or not self.in_array:
                    yield last
                if self.ended:
                    return

    def _cut(self, *, before_token: bool = False) -> bytes:
        item = self._buffer[self._start : self._position - before_token].strip(_BLANK)
        self._start = self._position
        self._items += 1
        return item


def _first_text(read: Callable[[], bytes]) -> bytes:
    """Read until something else than a byte order mark and blanks is there."""
    buffer = b""
    while chunk := read():
        buffer += chunk
        if len(buffer) >= len(_BOM) and (text := buffer.removeprefix(_BOM).lstrip(_BLANK)):
            return text
    return buffer.removeprefix(_BOM).lstrip(_BLANK)
