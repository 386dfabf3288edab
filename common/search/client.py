"""Clients for Elasticsearch, and the translation of its errors at the edge."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from elastic_transport import HttpxAsyncHttpNode
from elastic_transport.client_utils import DEFAULT, DefaultType
from elasticsearch import ApiError, AsyncElasticsearch, ConnectionTimeout, Elasticsearch, TransportError
from elasticsearch.serializer import JsonSerializer

from common.errors import SearchUnavailableError, SettingsError
from common.tls import tls_fault

WRITE_TIMEOUT_SECONDS = 30.0
READ_TIMEOUT_SECONDS = 10.0

# Statuses below 500 that say nothing on what was sent: our credentials or rights (401, 403: mended outside, then
# the same request passes), a slow network (408), a full write queue (429).
_PASSING_STATUSES = frozenset({401, 403, 408, 429})


def open_client(
    url: str, *, ca_file: str = "", client_class: type[Elasticsearch] = Elasticsearch
) -> Elasticsearch:
    """A synchronous client for workers and commands; connects at the first request.

    A request is sent once and takes at most 30 seconds: whoever asks decides what to send again, so that no
    retry goes uncounted. Bodies are not compressed: gzip costs more time than a network of one site saves.

    Args:
        url: the server; user and password go into it.
        ca_file: who vouches for the certificate of an https server (PEM); default: whom the machine trusts.
        client_class: what it is.

    Raises:
        SettingsError: `url` is not the URL of a server, or `ca_file` no certificates.
    """
    try:
        return client_class(
            url,
            ssl_context=_tls(url, ca_file),
            request_timeout=WRITE_TIMEOUT_SECONDS,
            max_retries=0,
            retry_on_status=(),
            http_compress=False,
            serializers={JsonSerializer.mimetype: _FastJson()},
        )
    except ValueError:
        raise _bad_url() from None


def open_async_client(url: str, *, ca_file: str = "") -> AsyncElasticsearch:
    """An asynchronous client for the API, to be opened and closed within its event loop.

    As `open_client`, except that a request takes at most 10 seconds: a person waits for the answer.

    Raises:
        SettingsError: `url` is not the URL of a server.
    """
    try:
        return AsyncElasticsearch(
            url,
            node_class=HttpxAsyncHttpNode,
            ssl_context=_tls(url, ca_file),
            request_timeout=READ_TIMEOUT_SECONDS,
            max_retries=0,
            retry_on_status=(),
            http_compress=False,
        )
    except ValueError:
        raise _bad_url() from None


def is_passing(status: int) -> bool:
    """Whether an answer with this HTTP status may turn out well when the same is sent again later."""
    return status in _PASSING_STATUSES or status >= 500


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise the client's passing failures as `SearchUnavailableError`; let all others through.

    A context manager around any request, awaited ones too, and a decorator for synchronous functions.
    """
    try:
        yield
    except ConnectionTimeout as error:
        raise SearchUnavailableError(
            "Elasticsearch did not answer in time; it may be overloaded, or too small for what it holds"
        ) from error
    except TransportError as error:
        if fault := tls_fault(error):
            raise SearchUnavailableError(f"Elasticsearch's certificate is not accepted: {fault}") from error
        raise SearchUnavailableError(
            f"Elasticsearch cannot be reached: {type(error).__name__}; try again shortly"
        ) from error
    except ApiError as error:
        if not is_passing(error.meta.status):
            raise
        raise SearchUnavailableError(
            f"Elasticsearch is not available: it answered {error.meta.status}; try again shortly"
        ) from error


class _FastJson(JsonSerializer):
    """Reads answers with msgspec: those to bulk requests are long."""

    def json_loads(self, data: bytes) -> Any:
        try:
            return msgspec.json.decode(data)
        except msgspec.MsgspecError:  # no JSON at all, or a number beyond the range of doubles
            return json.loads(data)


def _tls(url: str, ca_file: str) -> ssl.SSLContext | DefaultType:
    # A context of ours, since the client's own does not check the name of a server that goes by its address.
    if not url.startswith("https:"):
        return DEFAULT  # the client takes anything else for a mistake
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError:  # what ssl raises is one, too
        raise SettingsError(f"SSPP_ELASTICSEARCH_CA_FILE: {ca_file} holds no certificates") from None


def _bad_url() -> SettingsError:
    # The URL itself may carry a password.
    return SettingsError("ELASTICSEARCH_URL: expected a form like http://user:password@host:9200")
