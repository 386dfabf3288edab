"""TLS to the stores, with certificates of an authority made here.

The embedded servers speak no TLS (PostgreSQL comes without OpenSSL, Valkey and search without their TLS), so a door
in front of each does it for them. What is tried is the platform's side: real handshakes, and real servers behind.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import httpx
import pytest
import trustme

from common.database.connections import open_pool
from common.errors import (
    DatabaseUnavailableError,
    QueueUnavailableError,
    SearchUnavailableError,
    TransientError,
)
from common.redis import open_async_redis, open_redis
from common.redis import translated_errors as redis_errors
from common.search.client import open_async_client, open_client
from common.search.client import translated_errors as search_errors
from infrastructure.database.connections import connect

EVENT = {
    "event_id": "e1",
    "event_type": "purchase",
    "customer_id": "c1",
    "data": {"amount": "1.00", "currency": "USD"},
}


# Takes the name of a variable; returns what makes the URL for a client that has certain files.
Secured = Callable[..., Callable[..., str]]


@dataclass(frozen=True)
class Files:
    """Certificates on disk, as settings name them."""

    ca: str
    certificate: str
    key: str


class Authority:
    """A certificate authority, and what it signs."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._authority = trustme.CA()
        client = self._authority.issue_cert("a-client.test")
        self.files = Files(str(folder / "ca.pem"), str(folder / "client.pem"), str(folder / "client.key"))
        self._authority.cert_pem.write_to_path(self.files.ca)
        client.cert_chain_pems[0].write_to_path(self.files.certificate)
        client.private_key_pem.write_to_path(self.files.key)
        Path(self.files.key).chmod(0o600)  # libpq insists

    def server_context(
        self, *, name: str = "127.0.0.1", asks_for_certificate: bool = False
    ) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._authority.issue_cert(name).configure_cert(context)
        if asks_for_certificate:
            self._authority.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def encrypted(url: str, port: int, files: Files, *, with_certificate: bool = False) -> str:
    """`url`, at the door on `port`, as the documentation writes it."""
    parts = urlsplit(url)
    scheme, query = parts.scheme, {}
    if scheme.startswith("postgres"):
        query = {"sslmode": "verify-full", "sslrootcert": files.ca}
        if with_certificate:
            query |= {"sslcert": files.certificate, "sslkey": files.key}
    elif scheme == "redis":
        scheme, query = "rediss", {"ssl_ca_certs": files.ca}
        if with_certificate:
            query |= {"ssl_certfile": files.certificate, "ssl_keyfile": files.key}
    else:
        scheme = "https"
    credentials, at, _ = parts.netloc.rpartition("@")
    place = f"{credentials}{at}127.0.0.1:{port}"
    return urlunsplit(parts._replace(scheme=scheme, netloc=place, query=urlencode(query)))


@pytest.fixture
def secured(environment: dict[str, str], tls_door: Any, authority: Authority) -> Secured:
    """Sets up a door, with a certificate as `Authority.server_context` makes it, before the server of a variable."""

    def secure(variable: str, **server: Any) -> Callable[..., str]:
        url = environment[variable]
        return partial(encrypted, url, tls_door(url, authority.server_context(**server)))

    return secure


def ask_postgresql(url: str, _files: Files) -> None:
    with connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with open_pool(url, application="test") as pool, pool.connection() as pooled:
        assert pooled.execute("SELECT 1").fetchone() == (1,)


def ask_redis(url: str, _files: Files) -> None:
    async def ask() -> None:
        async with open_async_redis(url) as client:
            assert await client.ping()

    with open_redis(url) as client, redis_errors():
        assert client.ping()
        asyncio.run(ask())


def ask_redis_asynchronously(url: str, _files: Files) -> None:
    async def ask() -> None:
        async with open_async_redis(url) as client:
            assert await client.ping()

    with redis_errors():
        asyncio.run(ask())


def ask_search(url: str, files: Files) -> None:
    with open_client(url, ca_file=files.ca) as client, search_errors():
        assert client.info()


def ask_search_asynchronously(url: str, files: Files) -> None:
    async def ask() -> None:
        async with open_async_client(url, ca_file=files.ca) as client:
            assert await client.info()

    with search_errors():
        asyncio.run(ask())


STORES = pytest.mark.parametrize(
    ("variable", "ask", "refusal"),
    [
        ("DATABASE_URL", ask_postgresql, DatabaseUnavailableError),
        ("REDIS_URL", ask_redis, QueueUnavailableError),
        ("REDIS_URL", ask_redis_asynchronously, QueueUnavailableError),
        ("ELASTICSEARCH_URL", ask_search, SearchUnavailableError),
        ("ELASTICSEARCH_URL", ask_search_asynchronously, SearchUnavailableError),
    ],
)
Ask = Callable[[str, Files], None]


@STORES
def test_a_store_is_reached_through_tls_and_only_if_the_named_authority_vouches_for_it(
    secured: Secured,
    authority: Authority,
    tmp_path: Path,
    variable: str,
    ask: Ask,
    refusal: type[TransientError],
) -> None:
    url_for = secured(variable)
    stranger = Authority(tmp_path / "stranger")

    ask(url_for(authority.files), authority.files)

    with pytest.raises(refusal, match=r"certificate .*(verify failed|not accepted: .*certificate)"):
        ask(url_for(stranger.files), stranger.files)


@STORES
def test_a_certificate_of_another_name_is_refused(
    secured: Secured, authority: Authority, variable: str, ask: Ask, refusal: type[TransientError]
) -> None:
    url_for = secured(variable, name="elsewhere.test")

    with pytest.raises(refusal, match=r"does not match host name|is not valid for|IP address mismatch"):
        ask(url_for(authority.files), authority.files)


@pytest.mark.parametrize(
    ("variable", "ask", "refusal"),
    [
        ("DATABASE_URL", ask_postgresql, DatabaseUnavailableError),
        ("REDIS_URL", ask_redis, QueueUnavailableError),
    ],
)
def test_a_client_certificate_is_shown_where_the_url_names_one(
    secured: Secured, authority: Authority, variable: str, ask: Ask, refusal: type[TransientError]
) -> None:
    url_for = secured(variable, asks_for_certificate=True)

    ask(url_for(authority.files, with_certificate=True), authority.files)
    with pytest.raises(refusal):
        ask(url_for(authority.files), authority.files)


def test_an_event_gets_from_the_api_to_the_index_over_tls_alone(
    secured: Secured, authority: Authority, start: Any, until: Any, api_store: Any, api_tenant: int
) -> None:
    urls = {
        name: secured(name)(authority.files) for name in ("DATABASE_URL", "REDIS_URL", "ELASTICSEARCH_URL")
    }
    urls |= {"RQ_REDIS_URL": urls["REDIS_URL"], "CACHE_URL": urls["REDIS_URL"]}
    changes = urls | {"SSPP_ELASTICSEARCH_CA_FILE": authority.files.ca}
    api = start("api", **changes)
    for queue in ("ingest", "index"):
        start(queue, **changes)
    until(api.answers)

    headers = {"Authorization": f"Bearer {api_store.key(api_tenant, 'ingest', 'read')}"}
    with httpx.Client(base_url=api.url, headers=headers) as client:
        assert client.post("/v1/events", json=EVENT).status_code == 202
        until(lambda: client.get("/v1/events/e1").json().get("status") == "indexed")
        until(lambda: client.get("/v1/search", params={"event_type": "purchase"}).json()["total"] == 1)
        ready = client.get("/readyz").json()
    assert {each["status"] for each in ready["dependencies"].values()} == {"ok"}
