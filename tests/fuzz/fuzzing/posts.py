"""What families of bodies for POST /v1/events share: their table, and the plain ways to put events together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fuzzing.draft import Input, Source
from fuzzing.event_texts import valid
from fuzzing.families import Families
from fuzzing.wire import request_bytes

ACCEPTED = "accepted"
JSON, NDJSON = "application/json", "application/x-ndjson"


@dataclass(frozen=True)
class Post:
    """A request with events, in order; `allowed` holds `ACCEPTED` or codes, and is empty where nobody can tell."""

    body: bytes
    media_type: str
    events: Sequence[Input]
    allowed: frozenset[str]
    headers: tuple[tuple[str, str], ...] = ()

    def request(self, key: str) -> bytes:
        own = (("authorization", f"Bearer {key}"), ("content-type", self.media_type))
        return request_bytes("POST", "/v1/events", (*own, *self.headers), self.body)


BODY_FAMILIES: Families[Callable[[Source], Post]] = Families()
family, bulky_family = BODY_FAMILIES.family, BODY_FAMILIES.bulky_family


def ndjson(inputs: Sequence[Input]) -> Post:
    """The plainest body there is: one event a line."""
    return Post(
        b"\n".join(each.raw for each in inputs), NDJSON, inputs, frozenset({ACCEPTED, "all_events_refused"})
    )


def array(inputs: Sequence[Input]) -> Post:
    body = b"[" + b",".join(each.raw for each in inputs) + b"]"
    return Post(body, JSON, inputs, frozenset({ACCEPTED, "all_events_refused"}))


def single(one: Input) -> Post:
    """One event alone; what is refused of it refuses the request."""
    if one.raw.lstrip().startswith(b"["):
        return ndjson([one])  # as a body it would be several events
    codes = {ACCEPTED} if one.allowed is None else {ACCEPTED, *one.allowed}
    return Post(one.raw, JSON, [one], frozenset(codes if one.allowed else ()))


def several(source: Source, most: int = 5) -> list[Input]:
    """One to `most` good events."""
    return [valid(source) for _ in range(source.random.randint(1, most))]


def accepted(body: bytes, media_type: str, inputs: Sequence[Input], *headers: tuple[str, str]) -> Post:
    return Post(body, media_type, inputs, frozenset({ACCEPTED}), headers)


def refused(body: bytes, media_type: str, *codes: str, headers: tuple[tuple[str, str], ...] = ()) -> Post:
    return Post(body, media_type, [], frozenset(codes), headers)
