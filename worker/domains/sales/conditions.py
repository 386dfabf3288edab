"""What a rule may ask of an event's data. Each condition reads fields that the schema types, and cannot fail."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

_WORD: Final = re.compile(r"[^\W_]+")
_MOST_REMEMBERED_CHARACTERS: Final = 200


def words(text: str) -> list[str]:
    """The words of `text` in order, without case and punctuation: ``"No-Show!"`` gives no and show."""
    return _WORD.findall(text.casefold())


def _words_in(text: str) -> Sequence[str]:
    """`words`, remembered for short texts: outcomes and addresses come again and again."""
    return _remembered_words(text) if len(text) <= _MOST_REMEMBERED_CHARACTERS else words(text)


@lru_cache(maxsize=4096)
def _remembered_words(text: str) -> Sequence[str]:
    return words(text)


class Condition(Protocol):
    """A question to an event's data; its string is the answer to "when?" in the reference page."""

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether `data`, which its schema accepts, meets the condition."""
        ...


@dataclass(frozen=True, slots=True)
class Says:
    """`field` is one of `values`, give or take case, spaces and punctuation (``No show`` is no_show)."""

    field: str
    values: frozenset[str]

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether the field is there and says one of the values."""
        return "_".join(_words_in(data.get(self.field, ""))) in self.values

    def __str__(self) -> str:
        return f"`{self.field}` is {_listed(self.values)}"


@dataclass(frozen=True, slots=True)
class Mentions:
    """At least one of `fields` contains at least one of `vocabulary` as a whole word."""

    fields: tuple[str, ...]
    vocabulary: frozenset[str]

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether any of the words occurs in any of the fields."""
        return any(not self.vocabulary.isdisjoint(_words_in(data.get(field, ""))) for field in self.fields)

    def __str__(self) -> str:
        return f"{' or '.join(f'`{field}`' for field in self.fields)} contains {_listed(self.vocabulary)}"


@dataclass(frozen=True, slots=True)
class LeadsTo:
    """The address in `fields`, without its query, contains one of `vocabulary` as a whole word."""

    fields: tuple[str, ...]
    vocabulary: frozenset[str]

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether the address leads to such a page; what a query string mentions does not count."""
        addresses = (data.get(field, "").partition("?")[0] for field in self.fields)
        return any(not self.vocabulary.isdisjoint(_words_in(address)) for address in addresses)

    def __str__(self) -> str:
        fields = " or ".join(f"`{field}`" for field in self.fields)
        return f"{fields}, without its query, contains {_listed(self.vocabulary)}"


@dataclass(frozen=True, slots=True)
class AtLeast:
    """The number in `field` is `least` or more."""

    field: str
    least: int

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether the field is there and large enough."""
        return self.field in data and bool(data[self.field] >= self.least)

    def __str__(self) -> str:
        return f"`{self.field}` is at least {self.least}"


@dataclass(frozen=True, slots=True)
class IsTrue:
    """`field` is true."""

    field: str

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether the field is there and true."""
        return data.get(self.field) is True

    def __str__(self) -> str:
        return f"`{self.field}` is true"


def _listed(values: frozenset[str]) -> str:
    *others, last = sorted(values)
    return f"{', '.join(others)} or {last}" if others else last
