"""Whether data fit a version of their event type: never at more effort than an event may cost."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from common.errors import InvalidEventError
from common.event_types.effort import Effort, measure
from common.event_types.limits import VERSIONS_WORTH, most_effort
from worker.domains.domain import Event, Projection
from worker.validation.violations import SchemaViolationError

# An error takes about 1.5 KB: finding out what an event violates takes 30 MB at most.
_MOST_COLLECTED_ERRORS = 20_000
_CHARACTERS_OF_A_VALUE = 256  # an error holds a copy of its value: so much text counts as one value more


@dataclass(frozen=True, slots=True)
class KnownType:
    """An event type as a worker uses it."""

    version: int  # the newest
    validators: tuple[jsonschema_rs.Draft202012Validator, ...]  # that version's first
    collected_errors: float  # by the first validator, for each value
    project: Callable[[Event], Projection]
    efforts: tuple[Effort, ...] = ()  # of the validators; ours cost little
    unmeasured_bytes: float = math.inf  # data of up to so many cost little, whatever they are


def check_data(known: KnownType, data: dict[str, Any], text: bytes) -> None:
    """Make sure that `data`, parsed from `text`, fit a version of their type, at bounded effort.

    Raises:
        SchemaViolationError: they fit none.
        InvalidEventError: ``too_laborious``: nobody tried, since it may cost more than an event may.
    """
    newest, *older = known.validators
    if len(text) > known.unmeasured_bytes:
        if _fits_at_bounded_effort(known, data, text):
            return
    elif newest.is_valid(data) or any(validator.is_valid(data) for validator in older):
        return
    if known.collected_errors:
        values = _count_values(data) + len(text) // _CHARACTERS_OF_A_VALUE
        if values * known.collected_errors > _MOST_COLLECTED_ERRORS:
            raise SchemaViolationError(None, known.version)
    try:
        # `iter_errors` would collect all errors, and be it gigabytes of them, before it gives the first.
        newest.validate(data)
    except jsonschema_rs.ValidationError as error:
        violation = SchemaViolationError(error, known.version)
    raise violation


def _fits_at_bounded_effort(known: KnownType, data: dict[str, Any], text: bytes) -> bool:
    most = most_effort(len(text))
    left = VERSIONS_WORTH * most
    for validator, effort in zip(known.validators, known.efforts, strict=True):
        asked = effort.of(measure(data, effort.text_keys))
        left -= asked
        if asked > most or left < 0:
            raise InvalidEventError(
                "too_laborious",
                "it takes too much work to hold these data against the schemas of their type: send smaller events, or"
                " register a schema that asks for less",
                "/data",
            )
        if validator.is_valid(data):
            return True
    return False


def _count_values(data: dict[str, Any]) -> int:
    count, waiting = 0, [data]
    while waiting:
        value: Any = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return count
