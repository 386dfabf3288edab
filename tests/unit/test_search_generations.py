from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from common.search.generations import Generations, MonthIndices
from common.search.template import index_name
from infrastructure.search.rebuilds import Rebuild

NOVEMBER = date(2026, 11, 1)


def test_a_month_has_one_index_as_a_rule_and_two_while_it_is_rebuilt() -> None:
    usual, rebuilt = MonthIndices(NOVEMBER), MonthIndices(NOVEMBER, generation=2, rebuilding=5)

    assert (usual.names, usual.building) == (("signals-2026-11",), None)
    assert (
        rebuilt.names == (rebuilt.serving, rebuilt.building) == ("signals-2026-11-g2", "signals-2026-11-g5")
    )
    assert rebuilt.switched() == MonthIndices(NOVEMBER, generation=5)
    assert usual.switched() == usual


def test_a_month_of_which_nothing_is_recorded_has_its_first_generation() -> None:
    rebuilt = MonthIndices(NOVEMBER, rebuilding=2)
    generations = Generations([MonthIndices(date(2026, 9, 1), generation=3), rebuilt])

    assert generations.of(datetime(2026, 11, 30, 23, 59, tzinfo=UTC)) == rebuilt
    assert generations.of(datetime(2026, 12, 1, tzinfo=UTC)) == MonthIndices(date(2026, 12, 1))
    assert generations.rebuilding() == [rebuilt]


@pytest.mark.parametrize("generation", [1, 2])
def test_the_month_is_that_of_the_instant_in_utc(generation: int) -> None:
    received_at = datetime(2026, 12, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    generations = Generations([MonthIndices(NOVEMBER, generation)])

    assert generations.of(received_at).serving == index_name(received_at, generation)


def test_a_rebuild_that_is_not_begun_never_writes_to_the_index_that_serves() -> None:
    indices = MonthIndices(NOVEMBER, generation=2)

    assert Rebuild(replace(indices, rebuilding=3), signals=0).target == "signals-2026-11-g3"
    with pytest.raises(ValueError, match="2026-11"):
        _ = Rebuild(indices, signals=0).target
