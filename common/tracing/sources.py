"""What batches are taken from, in the words of OpenTelemetry's conventions for messaging."""

from typing import NamedTuple


class Source(NamedTuple):
    """A queue: the system that keeps it, its name, and the group of consumers that share it, if it knows such."""

    system: str
    destination: str
    group: str = ""


INGEST = Source("redis", "sspp:ingest", "workers")
"""The lanes; each of their streams is a partition of it."""

OUTBOX = Source("postgresql", "outbox")
"""What is stored and not indexed yet."""
