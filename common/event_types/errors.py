"""Why an event type is not taken."""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import SsppError


class EventTypeError(SsppError):
    """The event type cannot be added or changed."""

    code = "event_type_error"


class UnknownEventTypeError(EventTypeError):
    """The tenant has no such event type of its own, or no such version of it."""

    code = "unknown_event_type"


class InvalidSchemaError(EventTypeError):
    """The schema is none, or asks for more than a worker grants; `path` is a JSON Pointer into it."""

    code = "invalid_schema"

    def __init__(self, detail: str, path: str = "") -> None:
        super().__init__(f"{path or 'the schema'}: {detail}")
        self.path = path


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """One reason why a new version may refuse what the one before it accepts; `path` is a JSON Pointer into it."""

    path: str
    detail: str


class IncompatibleSchemaError(EventTypeError):
    """The new version may refuse data that the one before it accepts."""

    code = "incompatible_schema"

    def __init__(self, version: int, found: Sequence[Incompatibility]) -> None:
        reasons = "; ".join(f"{each.path or 'the schema'}: {each.detail}" for each in found)
        super().__init__(f"data that version {version} accepts may be refused: {reasons}")
        self.found = found
