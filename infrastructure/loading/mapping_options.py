"""Reading a mapping from command line options and from a TOML or JSON file."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from infrastructure.loading.errors import MappingError
from infrastructure.loading.mapping import ENVELOPE, ColumnMapping, Field, Target, parse_target, target_name
from infrastructure.loading.source import plain_name
from infrastructure.loading.values import CONVERTERS

_FILE_KEYS = frozenset({"source", "event_type", "time_format", "delimiter", "encoding", "map", "set"})
_FIELD_KEYS = frozenset({"column", "type"})


@dataclass(frozen=True, slots=True)
class MappingFile:
    """What a mapping file says: the mapping, and how the table itself is to be read (None: not said)."""

    mapping: ColumnMapping
    source: str | None = None
    delimiter: str | None = None
    encoding: str | None = None


def mapping_from_options(
    maps: Iterable[str], constants: Iterable[str], *, event_type: str | None, time_format: str | None
) -> ColumnMapping:
    """Read ``TARGET[:TYPE][=COLUMN]`` and ``TARGET[:TYPE]=VALUE``, as given to ``--map`` and ``--set``.

    Raises:
        MappingError: an option has another form, a field is named twice, or a value does not fit its type.
    """
    fields: dict[Target, Field] = {}
    for option in maps:
        left, equals, column = option.partition("=")
        name, _, type_ = left.partition(":")
        if equals and not column:
            raise MappingError(f"--map {option}: give TARGET[:TYPE]=COLUMN.")
        _add(fields, parse_target(name), Field(column or name, type_ or "string"))
    values: dict[Target, Any] = {}
    if event_type is not None:
        values[("event_type",)] = event_type
    for option in constants:
        left, equals, text = option.partition("=")
        name, _, type_ = left.partition(":")
        if not equals:
            raise MappingError(f"--set {option}: give TARGET[:TYPE]=VALUE.")
        if (type_ or "string") not in CONVERTERS:
            raise MappingError(f"--set {option}: type {type_!r} is none of {', '.join(CONVERTERS)}.")
        try:
            _add(values, parse_target(name), CONVERTERS[type_ or "string"](text))
        except ValueError as error:
            raise MappingError(f"--set {option}: {error}.") from None
    return ColumnMapping(fields, values, time_format)


def mapping_beside(file: Path) -> Path | None:
    """The mapping that lies beside a table: ``sales.toml`` beside ``sales.csv`` or ``sales.csv.gz``."""
    beside = file.with_name(Path(plain_name(file)).stem + ".toml")
    return beside if beside.is_file() else None


def read_mapping_file(path: Path) -> MappingFile:
    """Read a mapping file: JSON if its name ends so, else TOML.

    Raises:
        MappingError: it cannot be read or says something that it cannot say.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            content = json.loads(text, parse_float=Decimal)
        else:
            content = tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise MappingError(f"Cannot read the mapping {path}: {error.strerror or error}.") from None
    except ValueError as error:
        raise MappingError(f"The mapping {path} is not valid: {error}.") from None
    try:
        return _mapping_file(content)
    except MappingError as error:
        raise MappingError(f"{path}: {error.detail}") from None


def _mapping_file(content: Any) -> MappingFile:
    if not isinstance(content, dict):
        raise MappingError("A mapping is an object.")
    if unknown := content.keys() - _FILE_KEYS:
        raise MappingError(
            f"Unknown: {', '.join(sorted(unknown))}; known are {', '.join(sorted(_FILE_KEYS))}."
        )
    for key in ("map", "set"):
        if not isinstance(content.get(key, {}), dict):
            raise MappingError(f"{key} must be a table.")
    texts = {key: value for key, value in content.items() if key not in {"map", "set"}}
    if wrong := [key for key, value in texts.items() if not isinstance(value, str)]:
        raise MappingError(f"{', '.join(wrong)} must be text.")
    constants: dict[Target, Any] = {}
    if "event_type" in texts:
        constants[("event_type",)] = texts["event_type"]
    for target, value in _leaves(content.get("set", {}), keep=lambda value: not isinstance(value, dict)):
        if target[0] in ENVELOPE and target != ("occurred_at",) and not isinstance(value, str):
            raise MappingError(f"{target_name(target)} must be text.")
        _add(constants, target, value)
    fields: dict[Target, Field] = {}
    for target, value in _leaves(content.get("map", {}), keep=_is_field):
        spec = {"column": value} if isinstance(value, str) else value
        if not isinstance(spec, dict) or not all(isinstance(part, str) for part in spec.values()):
            raise MappingError(f'{target_name(target)} must be "COLUMN" or {{ column = "…", type = "…" }}.')
        _add(fields, target, Field(**spec))
    return MappingFile(
        mapping=ColumnMapping(fields, constants, texts.get("time_format")),
        source=texts.get("source"),
        delimiter=texts.get("delimiter"),
        encoding=texts.get("encoding"),
    )


def _is_field(value: Any) -> bool:
    return not isinstance(value, dict) or ("column" in value and value.keys() <= _FIELD_KEYS)


def _leaves(table: Mapping[str, Any], *, keep: Any, prefix: str = "") -> Iterator[tuple[Target, Any]]:
    """Each entry that `keep` accepts with its target; TOML reads a dotted key as a table within a table."""
    for key, value in table.items():
        if keep(value):
            yield parse_target(prefix + key), value
        else:
            yield from _leaves(value, keep=keep, prefix=f"{prefix}{key}.")


def _add(entries: dict[Target, Any], target: Target, value: Any) -> None:
    if target in entries:
        raise MappingError(f"{target_name(target)} is named twice.")
    entries[target] = value
