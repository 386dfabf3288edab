import pytest

from common.metrics import Metrics

LAG = "sspp_store_lag_seconds"


def test_a_value_observed_many_times_at_once_counts_as_if_one_by_one() -> None:
    at_once, one_by_one = Metrics(), Metrics()
    for value, times in ((0.003, 5), (0.25, 1), (1e9, 3)):
        at_once.observe(LAG, value, times=times)
        for _ in range(times):
            one_by_one.observe(LAG, value)

    def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels.get("le", "")): sample.value
            for metric in metrics.registry.collect()
            for sample in metric.samples
            if sample.name.startswith(LAG) and not sample.name.endswith("_created")
        }

    assert samples(at_once) == pytest.approx(samples(one_by_one))
    assert samples(at_once)[(f"{LAG}_count", "")] == 9


def test_an_unknown_name_raises() -> None:
    with pytest.raises(KeyError):
        Metrics().count("sspp_no_such_metric_total")


def test_a_counter_follows_what_somebody_else_counted() -> None:
    metrics = Metrics()
    for total in (5, 9, 2):  # a server that began anew
        metrics.follow("sspp_database_deadlocks_total", total)
        assert metrics.registry.get_sample_value("sspp_database_deadlocks_total") == total


def test_replacing_a_gauge_leaves_nothing_of_before() -> None:
    metrics = Metrics()
    metrics.replace("sspp_tenants", {("active",): 3, ("deleted",): 1})

    metrics.replace("sspp_tenants", {("active",): 4})

    assert metrics.registry.get_sample_value("sspp_tenants", {"status": "active"}) == 4
    assert metrics.registry.get_sample_value("sspp_tenants", {"status": "deleted"}) is None
