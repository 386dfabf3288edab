"""How much an ingest drain takes at a time: enough to be fast, never more than memory should hold."""

from collections import Counter
from collections.abc import Sequence

from common.queue.streams import Entry

MOST_ENTRIES_OF_A_LANE = 512
MOST_BYTES = 3 * 1024 * 1024
"""Raw bytes of one transaction's events; a drain has two such batches in hand. Parsed, JSON takes three times its size
in memory if it is text, thirteen times if it is short keys, thirty if it is decimal numbers. Events so large that this
ends a batch early gain nothing from a longer one."""


class ReadSize:
    """How many entries to read of each lane, so that a read brings about one batch of events.

    Entries hold one event or a hundred, as the traffic has it. Doubling towards the goal and jumping down bounds
    what one read can bring after small entries gave way to large ones.
    """

    def __init__(self, batch_events: int) -> None:
        self._batch_events = batch_events
        self.entries_of_a_lane = 1

    def follow(self, entries: Sequence[Entry]) -> None:
        """Learn from what the last read brought."""
        events = sum(len(entry.records) for entry in entries)
        if not events:
            return
        fitting = max(1, self.entries_of_a_lane * self._batch_events // events)
        has_more = max(Counter(entry.lane for entry in entries).values()) >= self.entries_of_a_lane
        if fitting < self.entries_of_a_lane:
            self.entries_of_a_lane = fitting
        elif has_more:
            self.entries_of_a_lane = min(fitting, self.entries_of_a_lane * 2, MOST_ENTRIES_OF_A_LANE)


def next_batch(held: Sequence[Entry], *, most_events: int, most_bytes: int = MOST_BYTES) -> list[Entry]:
    """As many entries from the front of `held` as stay within both limits, and at least one if there is any."""
    batch: list[Entry] = []
    events = size = 0
    for entry in held:
        events += len(entry.records)
        size += sum(len(record.raw) for record in entry.records)
        if batch and (events > most_events or size > most_bytes):
            break
        batch.append(entry)
    return batch
