"""The few forms of query that nearly all panels have, as text."""

_INTERVAL = "$__rate_interval"


def rate(metric: str, *by: str, where: str = "") -> str:
    """Per second, what all processes counted in `metric`, by labels; `where` selects series: ``stage="ingest"``."""
    return f"sum{_by(by)}(rate({metric}{_selector(where)}[{_INTERVAL}]))"


def rate_or_zero(metric: str, where: str = "") -> str:
    """`rate`, and 0 where nothing of it was ever counted, so that quiet is told from unknown."""
    return f"{rate(metric, where=where)} or vector(0)"


def server_rate(metric: str, *by: str, where: str = "") -> str:
    """Per second, what a server counted and every maintenance worker shows alike: the largest, not the sum."""
    return f"max{_by(by)}(rate({metric}{_selector(where)}[{_INTERVAL}]))"


def latest(metric: str, *by: str, where: str = "") -> str:
    """A gauge about the whole platform, which several processes show alike."""
    return f"max{_by(by)}({metric}{_selector(where)})"


def quantile(share: float, histogram: str, *by: str, where: str = "") -> str:
    """What `share` of the values stay below, by labels."""
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', 'le', *by, where=where)})"


def mean(histogram: str, *by: str, where: str = "") -> str:
    """The mean of the values, by labels."""
    return f"{rate(f'{histogram}_sum', *by, where=where)} / {rate(f'{histogram}_count', *by, where=where)}"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)}) " if labels else ""


def _selector(where: str) -> str:
    return f"{{{where}}}" if where else ""
