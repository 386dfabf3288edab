"""An event as JSON text in the making: its members can be replaced by anything, valid or not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from random import Random
from typing import Any

from fuzzing.platform import OPEN_TYPE
from worker.domains import DOMAINS

STORED = "stored"

Members = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Input:
    """The text of one event, and what may become of it: `STORED` or codes; None where nobody can tell."""

    raw: bytes
    allowed: frozenset[str] | None = None


def becomes(raw: bytes, *outcomes: str) -> Input:
    """An input that must end in one of `outcomes`; without any, in whatever the documentation knows."""
    return Input(raw, frozenset(outcomes) or None)


def dumps(value: Any) -> bytes:
    """`value` as JSON text, in ASCII."""
    return json.dumps(value).encode()


@dataclass
class Draft:
    """Keys and values are JSON texts; order and repetition are kept."""

    fields: Members = field(default_factory=list)
    data: Members = field(default_factory=list)

    def set(self, name: str, value: bytes) -> "Draft":
        """Replace or add a field of the envelope."""
        key = dumps(name)
        self.fields = [member for member in self.fields if member[0] != key] + [(key, value)]
        return self

    def put(self, name: str, value: bytes) -> "Draft":
        """Replace or add a member of ``data``."""
        key = dumps(name)
        self.data = [member for member in self.data if member[0] != key] + [(key, value)]
        return self

    def text(self) -> bytes:
        named = any(key == b'"data"' for key, _ in self.fields)
        own = [] if named else [(b'"data"', json_object(self.data))]
        return json_object([*self.fields, *own])


def json_object(members: Members) -> bytes:
    return b"{" + b",".join(key + b":" + value for key, value in members) + b"}"


@dataclass(frozen=True)
class Sample:
    """A payload that the domain's own tests know to be valid or not."""

    event_type: str
    data: Mapping[str, Any]
    schema: Mapping[str, Any]


def _samples(kind: str) -> list[Sample]:
    found = []
    for domain in DOMAINS:
        folder = files(f"worker.domains.{domain.name}") / "samples"
        for event_type in domain.event_types:
            text = (folder / f"{event_type.name}.{kind}.json").read_text(encoding="utf-8")
            found += [Sample(event_type.name, each["data"], event_type.schema) for each in json.loads(text)]
    return found


VALID_SAMPLES, INVALID_SAMPLES = _samples("valid"), _samples("invalid")


class Source:
    """Drafts with ids that never repeat, and the randomness that a run's seed decides."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self._seed = seed
        self._made = 0

    def new_id(self) -> str:
        self._made += 1
        return f"fuzz-{self._seed}-{self._made}"

    def sample(self) -> Sample:
        return self.random.choice(VALID_SAMPLES)

    def draft(self, sample: Sample | None = None) -> Draft:
        """A valid event made from a sample."""
        sample = sample or self.sample()
        draft = self._envelope(sample.event_type)
        draft.data = [(dumps(key), dumps(value)) for key, value in sample.data.items()]
        return draft

    def open_draft(self) -> Draft:
        """A valid event of the type that accepts any object."""
        return self._envelope(OPEN_TYPE)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def _envelope(self, event_type: str) -> Draft:
        draft = Draft()
        draft.set("event_id", dumps(self.new_id())).set("event_type", dumps(event_type))
        draft.set("customer_id", dumps(f"customer-{self.random.randrange(500)}"))
        if self.chance(0.7):
            draft.set(
                "occurred_at",
                dumps(f"{self.random.randint(1990, 2030)}-0{self.random.randint(1, 9)}-17T08:30:00Z"),
            )
        if self.chance(0.1):
            draft.set("trace_id", dumps(f"trace-{self.random.randrange(100)}"))
        return draft
