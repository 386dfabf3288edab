"""The search server that the environment names; apart from `console`, as most commands do without its client."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from elasticsearch import Elasticsearch

from common.search.client import open_client
from infrastructure.loading.environment import find_variables


@contextmanager
def search(env_file: Path | None = None) -> Iterator[Elasticsearch]:
    """A client for the server of ELASTICSEARCH_URL, found as `database_url` is; connects at the first request.

    SSPP_ELASTICSEARCH_CA_FILE of the environment vouches for its certificate.

    Raises:
        SettingsError: ELASTICSEARCH_URL is missing or not the URL of a server.
    """
    found = find_variables(("ELASTICSEARCH_URL",), os.environ, env_file=env_file)
    ca_file = os.environ.get("SSPP_ELASTICSEARCH_CA_FILE", "")
    with open_client(found["ELASTICSEARCH_URL"], ca_file=ca_file) as client:
        yield client
