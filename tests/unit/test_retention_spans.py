"""Which parts of the log upkeep looks through for what tenants no longer keep."""

from datetime import UTC, datetime, timedelta

from worker.maintenance.retention import Due, spans_to_look_through

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def due(days: int, *, looked: timedelta | None = None) -> Due:
    """A tenant that keeps events for so many days, and was looked through so long ago, or never."""
    cutoff = NOW - days * DAY
    return Due(days, cutoff, None if looked is None else cutoff - looked)


def looked_at(*tenants: Due) -> timedelta:
    return sum((ends - begins for begins, ends in spans_to_look_through(tenants)), timedelta())


def test_an_hour_is_looked_at_when_its_time_is_over_and_once_more_a_day_later() -> None:
    cutoff = NOW - 30 * DAY

    assert spans_to_look_through([due(30, looked=HOUR)]) == [
        (cutoff - DAY - HOUR, cutoff - DAY),
        (cutoff - HOUR, cutoff),
    ]


def test_nothing_is_missed_or_looked_at_twice_after_a_pause() -> None:
    cutoff = NOW - 30 * DAY

    assert spans_to_look_through([due(30, looked=3 * DAY)]) == [(cutoff - 4 * DAY, cutoff)]


def test_however_many_tenants_are_new_the_log_is_looked_through_once() -> None:
    ((_, ends),) = spans_to_look_through([due(days) for days in range(1, 300)])

    assert ends == NOW - DAY


def test_each_further_limit_costs_two_hours_of_the_log_at_most() -> None:
    days = [7, 30, 31, 90, 365]

    assert looked_at(*(due(each, looked=HOUR) for each in days)) == 9 * HOUR
    assert looked_at(*(due(each, looked=HOUR) for each in 100 * days)) == 9 * HOUR


def test_nobody_has_anything_to_look_through() -> None:
    assert spans_to_look_through([]) == []
