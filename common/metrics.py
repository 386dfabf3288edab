"""The catalogue of every metric that any process exposes; a name that is not in it raises."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from common.metric import SIZES, Metric
from common.store_metrics import STORE_METRICS

CATALOGUE: tuple[Metric, ...] = (
    Metric("sspp_http_requests_total", "counter", "HTTP requests answered.", ("method", "route", "status")),
    Metric(
        "sspp_http_request_duration_seconds", "histogram", "Time to answer a request.", ("method", "route")
    ),
    Metric(
        "sspp_api_logs_dropped_total",
        "counter",
        "API calls that did not get into the log of calls: too many at once.",
    ),
    Metric("sspp_events_accepted_total", "counter", "Events acknowledged: durable in Redis."),
    Metric("sspp_events_refused_total", "counter", "Events refused by the API, by code.", ("code",)),
    Metric("sspp_push_events", "histogram", "Events that one push to Redis carried.", (), SIZES),
    Metric("sspp_push_duration_seconds", "histogram", "Time of one push to Redis, until it is on disk."),
    Metric(
        "sspp_requests_shed_total",
        "counter",
        "Requests turned away because of overload or of what their tenant's plan allows, by code.",
        ("code",),
    ),
    Metric("sspp_queued_bytes", "gauge", "Bytes of events in the queue, those in work included."),
    Metric("sspp_queued_bytes_limit", "gauge", "SSPP_MAX_QUEUED_BYTES: where the API begins to shed load."),
    Metric("sspp_body_bytes", "gauge", "Bytes of request bodies that this process holds at the moment."),
    Metric("sspp_lane_depth_events", "gauge", "Events waiting or in work, by lane.", ("lane",)),
    Metric(
        "sspp_lane_oldest_age_seconds", "gauge", "Age of the oldest event not yet stored, by lane.", ("lane",)
    ),
    Metric("sspp_events_stored_total", "counter", "Events stored in PostgreSQL for the first time."),
    Metric("sspp_events_duplicate_total", "counter", "Events whose id was stored already; nothing changed."),
    Metric(
        "sspp_events_conflict_total",
        "counter",
        "Duplicates whose content differs from the event stored first.",
    ),
    Metric(
        "sspp_events_dropped_total",
        "counter",
        "Accepted events that were not stored, as their customers were erased since or are suppressed.",
        ("reason",),
    ),
    Metric(
        "sspp_events_rejected_total", "counter", "Events refused by a worker into rejected_events.", ("code",)
    ),
    Metric(
        "sspp_refusals_withheld_total",
        "counter",
        "Refusals that the dead-letter guard withheld; an event that comes back and is withheld anew counts again.",
    ),
    Metric(
        "sspp_withheld_events",
        "gauge",
        "Events that would be refused, but are withheld as they are suspiciously many. Above 0: look into it.",
    ),
    Metric("sspp_signals_stored_total", "counter", "Signals stored in PostgreSQL."),
    Metric("sspp_store_lag_seconds", "histogram", "From accepted to committed in PostgreSQL, per event."),
    Metric("sspp_outbox_depth_signals", "gauge", "Signals that the search index still has to learn."),
    Metric("sspp_outbox_oldest_age_seconds", "gauge", "Age of the oldest outbox row not yet indexed."),
    Metric("sspp_signals_indexed_total", "counter", "Documents written to Elasticsearch."),
    Metric("sspp_documents_put_off_total", "counter", "Documents that Elasticsearch could not take yet."),
    Metric("sspp_index_failures_total", "counter", "Documents that Elasticsearch refused for good."),
    Metric(
        "sspp_index_resends_total", "counter", "Losses of the search server that were found and acted upon."
    ),
    Metric("sspp_signals_reopened_total", "counter", "Signals due for the index again after such a loss."),
    Metric("sspp_index_lag_seconds", "histogram", "From accepted to indexed, per signal."),
    Metric("sspp_batch_size", "histogram", "Items of one batch.", ("stage",), SIZES),
    Metric("sspp_stage_duration_seconds", "histogram", "Time of one step of a batch.", ("stage", "step")),
    Metric("sspp_drains_total", "counter", "Drains run.", ("stage",)),
    Metric(
        "sspp_jobs_refused_total",
        "counter",
        "RQ jobs that were none of ours and were not run. Above 0: somebody else writes to Redis.",
    ),
    Metric(
        "sspp_drain_errors_total",
        "counter",
        "Batches that failed and are tried again, by code; `internal_error` is a fault of ours, and the log has it.",
        ("stage", "code"),
    ),
    Metric("sspp_entries_claimed_total", "counter", "Stream entries taken over from dead workers."),
    Metric(
        "sspp_suspect_entries_claimed_total",
        "counter",
        "Stream entries taken over alone, as workers died with them again and again. Above 0: look into it.",
    ),
    *STORE_METRICS,
)


class Metrics:
    """The catalogue's metrics in a registry of their own.

    Raises KeyError for a name that the catalogue lacks, and ValueError for wrong labels: a typo is found by the
    first test that passes it, not by an empty dashboard.
    """

    def __init__(self, catalogue: tuple[Metric, ...] = CATALOGUE) -> None:
        self.registry = CollectorRegistry()
        self._before_scrape = _BeforeScrape()
        self.registry.register(self._before_scrape)  # first, so that it runs before the metrics are read
        self._counters = _Kind[Counter]()
        self._gauges = _Kind[Gauge]()
        self._histograms = _Kind[_Histogram]()
        self._replaced: dict[str, set[tuple[str, ...]]] = {}
        # process_*: memory, processor time and files of this process, under the names that everybody has them.
        ProcessCollector(registry=self.registry)
        for metric in catalogue:
            match metric.kind:
                case "counter":
                    self._counters.metrics[metric.name] = Counter(
                        metric.name, metric.help, metric.labels, registry=self.registry
                    )
                case "gauge":
                    self._gauges.metrics[metric.name] = Gauge(
                        metric.name, metric.help, metric.labels, registry=self.registry
                    )
                case "histogram":
                    self._histograms.metrics[metric.name] = _Histogram(
                        metric.name,
                        metric.help,
                        metric.labels,
                        buckets=metric.buckets,
                        registry=self.registry,
                    )

    def before_scrape(self, measure: Callable[[], None]) -> None:
        """Call `measure` before each reading of the registry, to set gauges; it must not raise."""
        self._before_scrape.measures.append(measure)

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add `amount` to the counter `name`."""
        self._counters.child(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set the gauge `name` to `value`."""
        self._gauges.child(name, labels).set(value)

    def follow(self, name: str, total: float, **labels: str) -> None:
        """Let the counter `name` stand at `total`, as somebody else counted, such as a server."""
        # prometheus_client lets nobody set a counter: it cannot know that what it stood at is counted on elsewhere.
        self._counters.child(name, labels)._value.set(total)  # noqa: SLF001

    def replace(self, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        """Set the gauge `name` to `values`, by the values of its labels; others that were set so before are gone.

        For gauges whose labels come and go. One is either set by this or by `set`.
        """
        gauge = self._gauges.metrics[name]
        for labels, value in values.items():
            gauge.labels(*labels).set(value)
        for labels in self._replaced.get(name, set()).difference(values):
            gauge.remove(*labels)
        self._replaced[name] = set(values)

    def observe(self, name: str, value: float, *, times: int = 1, **labels: str) -> None:
        """Record `value` (seconds, or a size) in the histogram `name`, as if `times` times."""
        self._histograms.child(name, labels).observe_repeatedly(value, times)


class _Histogram(Histogram):
    """A histogram that takes the same value any number of times at the price of one."""

    def observe_repeatedly(self, value: float, times: int) -> None:
        # prometheus_client offers no weights. This is what its `observe` does, `times` times.
        self._sum.inc(value * times)
        self._buckets[bisect_left(self._upper_bounds, value)].inc(times)


Kind = TypeVar("Kind", Counter, Gauge, _Histogram)


class _Kind(Generic[Kind]):
    """All metrics of one kind, and their children: finding one by its labels costs as much as ten dict look-ups."""

    def __init__(self) -> None:
        self.metrics: dict[str, Kind] = {}
        self._children: dict[tuple[object, ...], Kind] = {}

    def child(self, name: str, labels: Mapping[str, str]) -> Kind:
        key = (name, *labels.items())
        child = self._children.get(key)
        if child is None:
            metric = self.metrics[name]
            child = self._children[key] = metric.labels(**labels) if labels else metric
        return child


class _BeforeScrape(Collector):
    """Contributes no metric of its own, only the moment of being asked."""

    def __init__(self) -> None:
        self.measures: list[Callable[[], None]] = []

    def collect(self) -> Iterator[MetricFamily]:
        for measure in self.measures:
            measure()
        return iter(())

    def describe(self) -> Iterator[MetricFamily]:
        return iter(())
