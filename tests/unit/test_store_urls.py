"""What the URLs of the stores say, and that no log line gets a password out of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import SettingsError
from common.store_urls import (
    StoreAccess,
    elasticsearch_access,
    mask_password,
    postgresql_access,
    redis_access,
)

PASSWORD = "pa55-of-no-store"


@pytest.mark.parametrize(
    ("read", "url", "is_local", "channel"),
    [
        (postgresql_access, "postgresql://u:p@127.0.0.1/x", True, "plain"),
        (postgresql_access, "postgresql://u:p@localhost/x", True, "plain"),
        (postgresql_access, "postgresql:///x?host=/run/postgresql", True, "plain"),
        (postgresql_access, "postgresql://u:p@[::1]:5433/x", True, "plain"),
        (postgresql_access, "postgresql://u:p@db/x", False, "plain"),
        (postgresql_access, "postgresql://u:p@127.0.0.1,db/x", False, "plain"),
        (postgresql_access, "postgresql://u:p@localhost/x?hostaddr=10.0.0.5", False, "plain"),
        (postgresql_access, "postgresql://u:p@db/x?sslmode=prefer", False, "plain"),
        (postgresql_access, "postgresql://u:p@db/x?sslmode=require", False, "unverified"),
        (postgresql_access, "postgresql://u:p@db/x?sslmode=verify-ca", False, "unverified"),
        (postgresql_access, "host=db user=u sslmode=verify-full", False, "verified"),
        (redis_access, "redis://:p@127.0.0.1:6379/0", True, "plain"),
        (redis_access, "unix:///run/redis.sock", True, "plain"),
        (redis_access, "redis://cache", False, "plain"),
        (redis_access, "rediss://cache", False, "verified"),
        (redis_access, "rediss://cache?ssl_cert_reqs=none", False, "unverified"),
        (redis_access, "rediss://cache?ssl_check_hostname=false", False, "unverified"),
        (elasticsearch_access, "http://127.0.0.1:9200", True, "plain"),
        (elasticsearch_access, "http://search:9200", False, "plain"),
        (elasticsearch_access, "https://search:9200", False, "verified"),
        (elasticsearch_access, "https://127.0.0.1.example.org", False, "verified"),
    ],
)
def test_a_url_says_whether_its_server_is_local_and_what_protects_the_way_there(
    read: Callable[[str, str], StoreAccess], url: str, is_local: bool, channel: str
) -> None:
    access = read("STORE_URL", url)

    assert (access.is_local, access.channel) == (is_local, channel)


def test_users_and_passwords_are_decoded_and_shown_by_no_repr() -> None:
    for access in (
        postgresql_access("DATABASE_URL", f"postgresql://ann:{PASSWORD}%2F@db/x"),
        redis_access("REDIS_URL", f"redis://ann:{PASSWORD}%2F@cache"),
        elasticsearch_access("ELASTICSEARCH_URL", f"https://ann:{PASSWORD}%2F@search"),
    ):
        assert (access.user, access.password) == ("ann", PASSWORD + "/")
        assert PASSWORD not in repr(access)


def test_what_stands_in_for_a_password_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = tmp_path / "client.pem"
    certificate.touch()
    assert redis_access("REDIS_URL", f"rediss://cache?ssl_certfile={certificate}").proves_otherwise
    assert postgresql_access("DATABASE_URL", "postgresql://u@db/x?sslcert=client.pem").proves_otherwise
    assert not postgresql_access("DATABASE_URL", "postgresql://u@db/x").proves_otherwise

    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    access = postgresql_access("DATABASE_URL", "postgresql://u@db/x")
    assert (access.password, access.channel) == (PASSWORD, "verified")


@pytest.mark.parametrize(
    ("parse", "url"),
    [
        (postgresql_access, f"postgresql://u:{PASSWORD}/x@db/x"),
        (postgresql_access, f"postgresql://u:/{PASSWORD}@db/x"),
        (redis_access, f"redis://u:/{PASSWORD}@cache:1/0"),
        (elasticsearch_access, f"http://u:#{PASSWORD}@search:9200"),
        *((redis_access, f"redis://u:{PASSWORD}{special}x@cache:1/0") for special in "/#?"),
        *((elasticsearch_access, f"http://u:{PASSWORD}{special}x@search:9200") for special in "/#?"),
    ],
)
def test_a_password_that_lacks_its_encoding_is_told_and_not_shown(
    parse: Callable[[str, str], object], url: str
) -> None:
    with pytest.raises(SettingsError, match="percent-encoded") as refused:
        parse("THE_URL", url)

    assert PASSWORD not in refused.value.detail


def test_a_certificate_that_is_not_there_is_told() -> None:
    with pytest.raises(SettingsError, match="REDIS_URL: ssl_ca_certs names no file"):
        redis_access("REDIS_URL", "rediss://cache?ssl_ca_certs=/no/such/file")


@given(st.text(min_size=1), st.sampled_from(["redis://{}@h:1/0", "http://{}@h/x?y=1", "postgresql://{}@h/d"]))
def test_no_password_survives_masking_however_it_is_written(text: str, form: str) -> None:
    secret = f"<{text}>"

    assert secret not in mask_password(form.format(f"user:{secret}"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:x@h/0", "redis://:***@h/0"),
        ("https://elastic:x@h:9200", "https://elastic:***@h:9200"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u@h/d?password=x&sslmode=require", "postgresql://u@h/d?password=***&sslmode=require"),
        ("rediss://h?ssl_password=x", "rediss://h?ssl_password=***"),
        ("host=h password=x", "***"),
    ],
)
def test_the_rest_of_a_url_is_shown(url: str, shown: str) -> None:
    assert mask_password(url) == shown
