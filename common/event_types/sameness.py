"""Whether parts of two schemas mean the same, whatever their descriptions say."""

from typing import Any

from common.event_types.documents import Schema, resolve, size
from common.event_types.parts import Spend, canonical

# They assert nothing.
_ANNOTATIONS = frozenset(
    ("title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "contentEncoding",
     "contentMediaType", "contentSchema", "$comment", "$schema", "$id", "$anchor", "$defs", "definitions")
)  # fmt: skip
_SCHEMAS_BY_NAME = ("properties", "patternProperties", "dependentSchemas")
_SCHEMA_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_SCHEMAS = (
    "not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems",
    "unevaluatedProperties",
)  # fmt: skip


class Sameness:
    """Compares parts of two schemas, each with its own targets of references; `spend` is told the effort."""

    def __init__(self, old_root: Schema, new_root: Schema, spend: Spend) -> None:
        self._old_root, self._new_root = old_root, new_root
        self._spend = spend
        self._entered: set[tuple[int, int]] = set()

    def of_schemas(self, old: Schema, new: Schema) -> bool:
        """Whether two subschemas assert the same, keyword by keyword."""
        if isinstance(old, bool) or isinstance(new, bool):
            return old is new
        self._spend(size(new))
        question = (id(old), id(new))
        if question in self._entered:  # they contain themselves
            return True
        self._entered.add(question)
        try:
            keywords = old.keys() - _ANNOTATIONS
            return keywords == new.keys() - _ANNOTATIONS and all(
                self.of_keyword(keyword, old[keyword], new[keyword]) for keyword in keywords
            )
        finally:
            self._entered.remove(question)

    def of_keyword(self, keyword: str, old: Any, new: Any) -> bool:
        """Whether `keyword` asserts the same with one value as with the other."""
        if keyword == "$ref":
            return self.of_schemas(resolve(old, self._old_root), resolve(new, self._new_root))
        if keyword in _SCHEMAS:
            return self.of_schemas(old, new)
        if keyword in _SCHEMA_LISTS:
            return len(old) == len(new) and all(map(self.of_schemas, old, new))
        if keyword in _SCHEMAS_BY_NAME:
            return old.keys() == new.keys() and all(self.of_schemas(old[name], new[name]) for name in old)
        return canonical(old, self._spend) == canonical(new, self._spend)
