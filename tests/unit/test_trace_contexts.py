"""Contexts as they travel with events, and which batches they have recorded."""

from datetime import UTC, datetime

import msgspec
import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link

from common.queue.streams import Record, decode_entry, encode_entry, entry_size
from common.tracing.context_formats import read_context, write_context
from common.tracing.contexts import MOST_CONTEXTS, pack_contexts, unpack_contexts
from common.tracing.sampling import LinksAsParents

CONTEXT = f"00-{'4bf92f35' * 4}-{'00f067aa' * 2}-01"
RECORDS = [Record("e1", datetime(2026, 11, 21, tzinfo=UTC), b'{"event_id":"e1"}')]


def test_workers_that_know_of_no_traces_find_all_that_they_look_at_as_it_was() -> None:
    plain, traced = encode_entry(7, RECORDS), encode_entry(7, RECORDS, [CONTEXT])
    assert traced.keys() - plain.keys() == {b"traces"}
    looked_at = (b"tenant", b"events", b"records")
    assert [traced[name] for name in looked_at] == [plain[name] for name in looked_at]
    # What the decoder before traces was: three items a record, and no fourth.
    assert len(msgspec.msgpack.decode(traced[b"records"], type=list[tuple[str, int, bytes]])) == 1


def test_an_entry_counts_the_bytes_of_its_contexts() -> None:
    plain, traced = encode_entry(7, RECORDS), encode_entry(7, RECORDS, [CONTEXT])
    assert entry_size(traced) == entry_size(plain) + len(CONTEXT)
    assert decode_entry("lane", b"1-0", traced).traces == CONTEXT.encode()


def test_an_entry_carries_a_bounded_size_of_contexts_each_once() -> None:
    contexts = [f"00-{number:032x}-{1:016x}-01" for number in range(1, 129)]
    assert list(unpack_contexts([pack_contexts(contexts * 2)])) == contexts
    long = [f"{context} vendor={'x' * 500}" for context in contexts]
    assert 7 * 1024 < len(pack_contexts(long)) <= 8 * 1024
    assert len(list(unpack_contexts(pack_contexts(contexts[n : n + 9]) for n in range(120)))) == MOST_CONTEXTS


@pytest.mark.parametrize("context", [CONTEXT, f"{CONTEXT} vendor=a b,other=2"])
def test_a_context_comes_out_as_it_went_in(context: str) -> None:
    found = read_context(context)
    assert found
    assert found.is_remote
    assert write_context(found) == context


@pytest.mark.parametrize("text", ["", " ", "nonsense", CONTEXT[:-2] + "00", CONTEXT[:-2] + "zz", "\0" * 60])
def test_what_is_no_sampled_context_is_none(text: str) -> None:
    assert read_context(text) is None


@pytest.mark.parametrize(
    ("sampler", "recorded"),
    [
        (ALWAYS_ON, True),
        (ALWAYS_OFF, False),
        (ParentBased(ALWAYS_OFF), True),
        (ParentBased(TraceIdRatioBased(0.0)), True),
        (TraceIdRatioBased(0.0), False),
    ],
)
def test_a_batch_is_recorded_as_a_part_of_the_first_trace_would_be(sampler: Sampler, recorded: bool) -> None:
    linked = read_context(CONTEXT)
    assert linked
    found = LinksAsParents(sampler).should_sample(Context(), 1, "process", links=[Link(linked)])
    assert (found.decision is Decision.RECORD_AND_SAMPLE) is recorded


def test_without_links_the_sampler_decides_as_ever() -> None:
    assert LinksAsParents(ParentBased(ALWAYS_OFF)).should_sample(Context(), 1, "x").decision is Decision.DROP
