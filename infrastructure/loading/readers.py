"""Reading events one by one, never the whole file: each row becomes an `Event` or a `BadRow`."""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import AnyStr, BinaryIO

import msgspec

from infrastructure.loading.errors import LoadError, MappingError
from infrastructure.loading.json_items import MAX_ITEM_BYTES, split_items
from infrastructure.loading.mapping import ColumnMapping, RowMapper, encode_event
from infrastructure.loading.source import Format, Source, reading
from infrastructure.loading.values import encode, one_line

_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it is sent: `body` is its JSON on one line.

    `row` counts from 1, without header and empty lines. `event_id` is None where the event carries something
    as its id that is none; the API will say so.
    """

    row: int
    event_id: str | None
    body: bytes


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row of which no event can be made, and why."""

    row: int
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """How a table is to be read."""

    mapping: ColumnMapping
    delimiter: str = ","
    encoding: str = "utf-8"


def read_events(source: Source, *, name: str | None, table: Table) -> Iterator[Event | BadRow]:
    """Yield the events of `source` in its format; ids are made of `name` and the row where there is none.

    Raises:
        LoadError: as the reader of the format does.
    """
    if source.format is Format.CSV:
        rows = read_csv(source.stream, table, source=name)
    elif source.format is Format.JSON:
        rows = read_json(source.stream, source=name)
    else:
        rows = read_ndjson(source.stream, source=name)
    with reading(source.label):
        yield from rows


def read_csv(stream: BinaryIO, table: Table, *, source: str | None) -> Iterator[Event | BadRow]:
    """Yield the events of a table whose first line names the columns.

    Raises:
        MappingError: the mapping does not fit the header; nothing has been yielded then.
        LoadError: rows need an id and there is no `source` to make it from; a line has no end.
    """
    # A byte that does not decode stays visible as a surrogate, so that it costs its row and not the file.
    text = io.TextIOWrapper(
        stream,
        encoding="utf-8-sig" if table.encoding.lower() in {"utf-8", "utf8"} else table.encoding,
        errors="surrogateescape",
        newline="",
    )
    rows = csv.reader(_lines(text.readline), delimiter=table.delimiter, strict=True)
    header = _header(rows)
    if not table.mapping.fields:
        raise MappingError(
            "A table needs a mapping from its columns to the fields of an event, such as --event-type TYPE "
            f"{' '.join(f'--map FIELD={column}' for column in header)}; see --help."
        )
    mapper = RowMapper(table.mapping, header)
    has_id = ("event_id",) in table.mapping.fields
    row = 0
    while True:
        try:
            cells = next(rows)
            if not cells:
                continue
            row += 1
            event = mapper.event(cells, None if has_id else _made_id(source, row))
            yield Event(row, event["event_id"], encode_event(event))
        except StopIteration:
            return
        except csv.Error as error:
            row += 1
            yield BadRow(row, _csv_reason(error))
        except ValueError as error:
            yield BadRow(row, str(error))


def read_ndjson(stream: BinaryIO, *, source: str | None) -> Iterator[Event | BadRow]:
    """Yield the events of a file with one JSON object a line; empty lines are passed over.

    Raises:
        LoadError: as in `read_json`.
    """
    lines = (line.strip() for line in _lines(stream.readline))
    return _json_events((line for line in lines if line), source=source)


def read_json(stream: BinaryIO, *, source: str | None) -> Iterator[Event | BadRow]:
    """Yield the events of a JSON array of any length, or of objects one after another.

    Events that carry an ``event_id`` are sent to the letter as they stand; into the others it is put, and
    every other value keeps its exact text.

    Raises:
        LoadError: the file is cut off, or an event has no id and there is no `source` to make it from.
    """
    return _json_events(split_items(partial(stream.read, _CHUNK_BYTES)), source=source)


def _json_events(items: Iterator[bytes], *, source: str | None) -> Iterator[Event | BadRow]:
    for row, item in enumerate(items, start=1):
        raw = item.removeprefix(b"\xef\xbb\xbf") if row == 1 else item
        try:
            raw.decode()
            fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        except UnicodeDecodeError:
            yield BadRow(row, "the text is not valid UTF-8")
        except msgspec.ValidationError:
            yield BadRow(row, "not a JSON object")
        except (msgspec.DecodeError, RecursionError) as error:
            yield BadRow(row, f"not valid JSON: {str(error).removeprefix('JSON is malformed: ')}")
        else:
            own_id = bytes(fields.get("event_id", b"null"))
            if own_id == b"null":
                event_id = _made_id(source, row)
                fields["event_id"] = msgspec.Raw(encode(event_id))
                yield Event(row, event_id, one_line(encode(fields)))
            else:
                yield Event(row, _text(own_id), one_line(raw))


def _text(raw: bytes) -> str | None:
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.MsgspecError:
        return None


def _made_id(source: str | None, row: int) -> str:
    if source is None:
        raise LoadError(
            f"Row {row} has no event_id, and standard input has no name to make one from; give --source NAME."
        )
    return f"{source}:{row}"


def _lines(readline: Callable[[int], AnyStr]) -> Iterator[AnyStr]:
    count = 0
    while line := readline(MAX_ITEM_BYTES):
        count += 1
        if len(line) >= MAX_ITEM_BYTES:
            raise LoadError(
                f"Line {count} is longer than {MAX_ITEM_BYTES:,} characters; is the format right?"
            )
        yield line


def _header(rows: Iterator[list[str]]) -> list[str]:
    try:
        return next((row for row in rows if row), [])
    except csv.Error as error:
        raise MappingError(f"The header cannot be read: {error}.") from None


def _csv_reason(error: csv.Error) -> str:
    if "field limit" in str(error) or "unexpected end" in str(error):
        return f"a quoted field does not end, or is longer than {csv.field_size_limit():,} characters"
    return f"not valid CSV: {error}"
