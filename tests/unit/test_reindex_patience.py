import io
from types import SimpleNamespace

import pytest
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import BadRequestError
from rich.console import Console

from common.errors import SearchUnavailableError
from infrastructure.search import patience
from infrastructure.search.patience import patiently
from infrastructure.search.rebuilds import ReindexError
from infrastructure.search.reindex_progress import LineProgress


def test_an_outage_is_waited_out_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    slept: list[float] = []
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=slept.append))
    failures = 7 * [SearchUnavailableError("it is away")]

    def step(value: int) -> int:
        if failures:
            raise failures.pop()
        return value

    assert patiently(LineProgress(Console(file=out), quiet=False), step, 42) == 42

    assert [line.removeprefix("it is away; next try in ") for line in out.getvalue().splitlines()] == [
        *("1 s", "2 s", "4 s", "8 s", "16 s", "30 s", "30 s")
    ]
    assert all(
        pause / 2 <= each <= pause for each, pause in zip(slept, (1, 2, 4, 8, 16, 30, 30), strict=True)
    )


def test_what_the_server_refuses_is_not_asked_again() -> None:
    meta = ApiResponseMeta(400, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "search.test", 9200))

    def step() -> None:
        raise BadRequestError("validation_exception", meta, {"error": {"reason": "too many shards"}})

    with pytest.raises(ReindexError, match="400 validation_exception"):
        patiently(LineProgress(Console(), quiet=True), step)
