"""Which row is made of refusals that are one and the same."""

from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from common.errors import InvalidEventError
from common.queue.streams import Record
from worker.validation.refusals import RefusedEvent, refusal_rows

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize("minutes", list(permutations([0, 1, 2])))
def test_of_the_same_text_refused_several_times_in_a_batch_the_youngest_is_kept(
    minutes: tuple[int, ...],
) -> None:
    refused = [
        RefusedEvent(
            1,
            Record("e1", NOON + timedelta(minutes=minute), b"{}"),
            InvalidEventError("missing_field", f"minute {minute}"),
        )
        for minute in minutes
    ]

    rows = refusal_rows(refused)

    assert rows["received_ats"] == [NOON + timedelta(minutes=2)]
    assert rows["details"] == ["minute 2"]
