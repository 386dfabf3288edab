"""What a run does, in which order: how many inputs of each kind, and which families have their turn."""

from collections.abc import Iterable, Iterator
from itertools import cycle
from random import Random

from fuzzing import bodies, connections, events, requests

# Of so many inputs one is of this kind: an event costs microseconds, a connection of its own milliseconds.
_BODY_SHARE, _REQUEST_SHARE, _CONNECTION_SHARE, _SINGLE_SHARE = 0.01, 0.02, 0.001, 0.005
_BULKY_SHARE = 0.02
_MOST_BODIES, _MOST_BULKY_BODIES, _MOST_REQUESTS = 2000, 60, 3000
# Searches cost the embedded server a walk through all documents: they come while these are few.
_REQUESTS_BEFORE = 0.1


def plan(inputs: int, *, events_of_a_batch: int, random: Random) -> Iterator[tuple[str, str]]:
    """Kinds of steps, each with the name of its family, in a mixed order; rare families come in turn so that all do.

    Of the kinds "single", "body", "request" and "connection" each is one input; a "batch" has no family.
    """
    bulky = bodies.BODY_FAMILIES.bulky
    turns = {
        "single": cycle(sorted(events.EVENT_FAMILIES)),
        "body": cycle(_shuffled(set(bodies.BODY_FAMILIES) - bulky, random)),
        "bulky body": cycle(_shuffled(bulky, random)),
        "request": cycle(_shuffled(requests.REQUEST_FAMILIES, random)),
        "connection": cycle(_shuffled(connections.CONNECTION_FAMILIES, random)),
        "batch": cycle([""]),
    }
    counts = {
        "body": min(_MOST_BODIES, inputs * _BODY_SHARE),
        "bulky body": min(_MOST_BULKY_BODIES, max(len(bulky), inputs * _BODY_SHARE * _BULKY_SHARE)),
        "request": min(_MOST_REQUESTS, inputs * _REQUEST_SHARE),
        "connection": max(len(connections.CONNECTION_FAMILIES), inputs * _CONNECTION_SHARE),
        "single": inputs * _SINGLE_SHARE,
        "batch": inputs * (1 - _SINGLE_SHARE) / events_of_a_batch,
    }
    kinds = [kind for kind, count in counts.items() for _ in range(max(1, round(count)))]
    kinds.sort(key=lambda kind: random.random() * (_REQUESTS_BEFORE if kind == "request" else 1))
    for kind in kinds:
        yield kind.removeprefix("bulky "), next(turns[kind])


def _shuffled(names: Iterable[str], random: Random) -> list[str]:
    ordered = sorted(names)
    random.shuffle(ordered)
    return ordered
