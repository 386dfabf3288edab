"""Which column of a table becomes which field of an event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infrastructure.loading.errors import MappingError
from infrastructure.loading.values import CONVERTERS, Convert, encode, time_converter

ENVELOPE = frozenset({"event_id", "event_type", "customer_id", "occurred_at", "trace_id"})
_MAY_BE_EMPTY = frozenset({"trace_id"})

Target = tuple[str, ...]
"""A field of the event as a path: ``("customer_id",)`` or ``("data", "address", "city")``."""


def parse_target(name: str) -> Target:
    """The field that `name` means: an envelope field, or a field of ``data``, nested where there are dots.

    ``data.customer_id`` is a data field although ``customer_id`` alone is the envelope's.

    Raises:
        MappingError: a part of the name is empty.
    """
    parts = tuple(name.split("."))
    if not all(parts):
        raise MappingError(f"{name!r} does not name a field.")
    if name in ENVELOPE or (parts[0] == "data" and len(parts) > 1):
        return parts
    return ("data", *parts)


def target_name(target: Target) -> str:
    """The field as messages call it."""
    return ".".join(target)


@dataclass(frozen=True, slots=True)
class Field:
    """One column's way into one field; `type` is one of `CONVERTERS`."""

    column: str
    type: str = "string"


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """A complete mapping; checked as a whole by `RowMapper`.

    `fields` and `constants` say what each field is filled from, `time_format` how ``occurred_at`` is written
    (None: ``iso``; see `time_converter`).
    """

    fields: dict[Target, Field]
    constants: dict[Target, Any]
    time_format: str | None = None

    def updated(self, other: "ColumnMapping") -> "ColumnMapping":
        """This mapping with every field of `other` in place of its own, and its time format if it has one."""
        taken = other.fields.keys() | other.constants.keys()
        return ColumnMapping(
            {target: field for target, field in self.fields.items() if target not in taken} | other.fields,
            {target: value for target, value in self.constants.items() if target not in taken}
            | other.constants,
            other.time_format or self.time_format,
        )


@dataclass(frozen=True, slots=True)
class _Step:
    target: Target
    index: int
    column: str
    convert: Convert


class RowMapper:
    """Turns the rows of one table into events; built once its header is known.

    Raises:
        MappingError: a column is missing or ambiguous, a field is filled twice or not at all, a type is
            unknown. All that is wrong is named at once.
    """

    def __init__(self, mapping: ColumnMapping, header: Sequence[str]) -> None:
        self._columns = len(header)
        self._read_time = time_converter(mapping.time_format or "iso")
        problems = [*_column_problems(mapping, header), *_field_problems(mapping)]
        if problems:
            raise MappingError(f"{'; '.join(problems)}. The file's columns are: {', '.join(header)}.")
        self._steps = [
            _Step(target, list(header).index(field.column), field.column, self._converter(target, field))
            for target, field in mapping.fields.items()
        ]
        self._constants = [
            (target, self._constant(target, value)) for target, value in mapping.constants.items()
        ]

    def _converter(self, target: Target, field: Field) -> Convert:
        return self._read_time if target == ("occurred_at",) else CONVERTERS[field.type]

    def _constant(self, target: Target, value: Any) -> Any:
        if target != ("occurred_at",):
            return value
        try:
            return self._read_time(str(value))
        except ValueError as error:
            raise MappingError(f"occurred_at: {error}.") from None

    def event(self, cells: Sequence[str], event_id: str | None) -> dict[str, Any]:
        """The row's event, with `event_id` unless a column holds its id.

        An empty cell leaves its field out; in the envelope only ``trace_id`` may be empty.

        Raises:
            ValueError: the row does not fit; the message says why.
        """
        if len(cells) != self._columns:
            raise ValueError(f"expected {self._columns} columns, found {len(cells)}")
        event: dict[str, Any] = {"event_id": event_id}
        for target, value in self._constants:
            _put(event, target, value)
        for step in self._steps:
            text = cells[step.index]
            if text:
                try:
                    _put(event, step.target, step.convert(text))
                except (ValueError, OverflowError) as error:
                    raise ValueError(f"column {step.column}: {error}") from None
            elif step.target[0] in ENVELOPE and step.target[0] not in _MAY_BE_EMPTY:
                raise ValueError(f"column {step.column}: {target_name(step.target)} is empty")
        event["data"] = event.pop("data", {})  # last, where people look for it
        return event


def _put(event: dict[str, Any], target: Target, value: Any) -> None:
    *parents, last = target
    for parent in parents:
        event = event.setdefault(parent, {})
    event[last] = value


def _column_problems(mapping: ColumnMapping, header: Sequence[str]) -> list[str]:
    problems = []
    for column in dict.fromkeys(field.column for field in mapping.fields.values()):
        if column not in header:
            problems.append(f"there is no column {column!r}")
        elif list(header).count(column) > 1:
            problems.append(f"there are several columns {column!r}")
    return problems


def _field_problems(mapping: ColumnMapping) -> list[str]:
    targets = [*mapping.fields, *mapping.constants]
    problems = [
        f"no column is mapped to {required}"
        for required in ("customer_id", "event_type")
        if (required,) not in targets
    ]
    problems += [
        f"{target_name(target)} is filled twice" for target in mapping.fields.keys() & mapping.constants
    ]
    problems += [
        f"{target_name(target)} is both a value and an object"
        for target in targets
        if any(other != target and other[: len(target)] == target for other in targets)
    ]
    if ("event_id",) in mapping.constants:
        problems.append("event_id cannot be the same for all rows")
    for target, field in mapping.fields.items():
        if field.type not in CONVERTERS:
            problems.append(f"{target_name(target)}: type {field.type!r} is none of {', '.join(CONVERTERS)}")
        elif target[0] in ENVELOPE and field.type != "string":
            problems.append(f"{target_name(target)} is part of the envelope and takes no type")
    return problems


def encode_event(event: dict[str, Any]) -> bytes:
    """The event as one line of JSON.

    Raises:
        ValueError: it holds text that is not valid in UTF-8.
    """
    try:
        return encode(event)
    except UnicodeEncodeError:
        raise ValueError("the text is not valid in the file's encoding") from None
