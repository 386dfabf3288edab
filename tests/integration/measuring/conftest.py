"""A catalogue of metrics, and an index; the tests here can import the module beside this one."""

import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from common.metrics import Metrics
from common.search.client import open_client
from common.search.template import ALIAS, ensure_template, index_name

sys.path.insert(0, str(Path(__file__).parent))

from measured import EARLIER


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def search(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with closing(open_client(elasticsearch_url)) as search:
        yield search


@pytest.fixture
def index(search: Elasticsearch) -> str:
    """The month's index, empty and serving."""
    ensure_template(search)
    name = index_name(EARLIER)
    search.indices.create(index=name, aliases={ALIAS: {}})
    return name
