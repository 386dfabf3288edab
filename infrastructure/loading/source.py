"""Opening what is to be loaded: a file or standard input, plain or gzip, in a format told or recognised."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from infrastructure.loading.errors import LoadError

STDIN = "-"
MAX_NAME = 150  # leaves room for the row number within the 200 characters of an event id
_HEAD_BYTES = 4096


class Format(StrEnum):
    """How the events are written down."""

    CSV = "csv"
    JSON = "json"
    NDJSON = "ndjson"


_FORMAT_BY_SUFFIX = {
    ".csv": Format.CSV,
    ".tsv": Format.CSV,
    ".json": Format.JSON,
    ".jsonl": Format.NDJSON,
    ".ndjson": Format.NDJSON,
}


class _Replay(io.RawIOBase):
    """A reader that looked at the first bytes of `source` and hands them out again; counts what it hands out."""

    def __init__(self, source: BinaryIO, peek: int) -> None:
        self._source = source
        self.head = source.read(peek)
        self._rest = self.head
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed's Buffer has no len()
        chunk = self._rest[: len(buffer)] or self._source.read(len(buffer))
        self._rest = self._rest[len(chunk) :]
        buffer[: len(chunk)] = chunk
        self.position += len(chunk)
        return len(chunk)


@dataclass(frozen=True)
class Source:
    """An opened input.

    `label` is what messages call it. `name` is the file's name without folder and compression suffix, None for
    standard input. `size` is in bytes as stored, None where unknown. `stream` yields the uncompressed bytes.
    """

    label: str
    name: str | None
    format: Format
    size: int | None
    stream: BinaryIO
    _stored: _Replay

    @property
    def position(self) -> int:
        """How many of the `size` stored bytes have been read so far."""
        return self._stored.position


def plain_name(path: Path) -> str:
    """The file's name without its folder and without a compression suffix."""
    return path.name[:-3] if path.suffix.lower() == ".gz" else path.name


@contextmanager
def open_source(file: str, *, format_: Format | None = None) -> Iterator[Source]:
    """Open `file` (``-`` is standard input) and find out what it is.

    Content decides on compression. The format is `format_` if given, else what the name says, else what the
    first character says; a name that says CSV is not believed where JSON begins.

    Raises:
        LoadError: the file cannot be opened, is empty, or is an archive.
    """
    path = None if file == STDIN else Path(file)
    try:
        raw = sys.stdin.buffer if path is None else path.open("rb")
        stored = _Replay(raw, peek=2)
    except OSError as error:
        raise LoadError(f"Cannot read {file}: {error.strerror or error}.") from None
    try:
        if stored.head == b"PK":
            raise LoadError(f"{file} is a zip archive (or a spreadsheet); unpack it, or export it as CSV.")
        stream: BinaryIO = io.BufferedReader(stored)
        if stored.head == b"\x1f\x8b":
            stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]  # it is one in all but name
        with reading(file):
            content = _Replay(stream, peek=_HEAD_BYTES)
        if not content.head.strip():
            raise LoadError(f"{file} is empty.")
        yield Source(
            label="standard input" if path is None else file,
            name=None if path is None else plain_name(path),
            format=format_ or _recognise(path, content.head),
            size=None if path is None or not path.is_file() else path.stat().st_size,
            stream=io.BufferedReader(content, 256 * 1024),
            _stored=stored,
        )
    finally:
        if path is not None:
            raw.close()


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Translate what goes wrong while bytes are read.

    Raises:
        LoadError: the disk failed, or the compressed data is damaged or cut off.
    """
    try:
        yield
    except EOFError:
        raise LoadError(f"{file} is cut off: its gzip data ends too early.") from None
    except (OSError, zlib.error) as error:
        raise LoadError(f"Cannot read {file} any further: {error}.") from None


def _recognise(path: Path | None, head: bytes) -> Format:
    named = None if path is None else _FORMAT_BY_SUFFIX.get(Path(plain_name(path)).suffix.lower())
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"[":
        return Format.JSON
    if first == b"{":
        return Format.JSON if named is Format.JSON else Format.NDJSON
    return named or Format.CSV
