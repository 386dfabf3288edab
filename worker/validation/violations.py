"""What an event violates: which place in its data, by which keyword of which version of its type's schema."""

from collections.abc import Iterator, Sequence

import jsonschema_rs

from common.errors import InvalidEventError
from common.event_types.documents import pointer

_MOST_PATH_CHARACTERS = 300
# After these comes a name, or a number, of the schema's own; after the first ones also a step into the data.
_INTO_NAMED = ("properties", "prefixItems")
_INTO_ANY = ("items", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")
_IN_PLACE = ("allOf", "anyOf", "oneOf", "dependentSchemas")


class SchemaViolationError(InvalidEventError):
    """The data fit no version of their type's schema; told is what the newest, `version`, says first.

    Refusals of one kind share `keyword` and `place`: a JSON Pointer to where in the data it is, with ``*`` for what the
    schema does not name, such as the elements of a list. So a schema has only so many kinds, and nothing in them is
    what somebody sent.

    Without an `error` nobody looked for the place: the data as a whole violate the schema as a whole.
    """

    def __init__(self, error: jsonschema_rs.ValidationError | None, version: int) -> None:
        self.version = version
        if error is None:
            super().__init__(
                "schema_violation", "fits no version of the schema; it is too large to say where", "/data"
            )
            self.keyword, self.place = "schema", "/data"
            return
        detail = error.message[:1000]
        super().__init__("schema_violation", detail, f"/data{pointer(error.instance_path)}")
        self.keyword = error.kind.name
        path = error.evaluation_path
        match error.kind:
            case jsonschema_rs.ValidationErrorKind.FalseSchema():
                steps = [*_steps(path)]
            case jsonschema_rs.ValidationErrorKind.Required(property=name):
                steps = [*_steps(path[:-1]), name]
            case _:
                steps = [*_steps(path[:-1])]
        self.place = f"/data{pointer(steps)}"[:_MOST_PATH_CHARACTERS]


def _steps(path: Sequence[str | int]) -> Iterator[str]:
    """The steps into the data that go with `path` through the schema."""
    remaining = iter(path)
    for step in remaining:
        if step in _INTO_NAMED:
            yield str(next(remaining, "*"))
        elif step == "patternProperties":
            next(remaining, None)
            yield "*"
        elif step in _INTO_ANY:
            yield "*"
        elif step in _IN_PLACE:
            next(remaining, None)
