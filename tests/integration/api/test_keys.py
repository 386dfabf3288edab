"""API keys in the database: what makes one usable."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from common.tenancy.errors import TenantError
from common.tenancy.keys import ApiKeyError, create_key, ensure_key, list_keys, revoke_key, rotate_key
from common.tenancy.secrets import parse_prefix
from common.tenancy.tenants import create_tenant
from infrastructure.database.connections import Connection, connect


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with connect(database_url) as connection:
        create_tenant(connection, "acme", "Acme")
        create_tenant(connection, "other", "Other")
        yield connection


def test_a_key_is_not_stored(connection: Connection) -> None:
    secret = create_key(connection, "acme", "shop", ["read", "ingest"])

    (key,) = list_keys(connection, "acme")
    assert (key.prefix, key.name, key.scopes) == (parse_prefix(secret), "shop", ["ingest", "read"])
    stored = connection.execute("SELECT api_keys::text FROM api_keys").fetchall()
    assert secret.removeprefix(f"sspp_{key.prefix}_") not in str(stored)


def test_a_usable_key_is_kept(connection: Connection) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    existing = create_key(connection, "acme", "", ["ingest", "read", "tenant_admin"], tomorrow)

    assert ensure_key(connection, "acme", "", ["ingest", "read"], existing) == existing
    assert len(list_keys(connection, "acme")) == 1


def test_a_key_that_is_not_usable_is_replaced(connection: Connection) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    expired = create_key(connection, "acme", "", ["read"], tomorrow)
    connection.execute("UPDATE api_keys SET expires_at = now()")
    revoked = create_key(connection, "acme", "", ["read"])
    revoke_key(connection, "acme", str(parse_prefix(revoked)))
    forged = create_key(connection, "acme", "", ["read"])[:-8] + "AAAAAAAA"
    unusable = [
        None,
        "",
        "no key",
        revoked,
        forged,
        expired,
        create_key(connection, "acme", "", ["ingest"]),
        create_key(connection, "other", "", ["read"]),
    ]

    for existing in unusable:
        new = ensure_key(connection, "acme", "", ["read"], existing)
        assert new != existing
        assert ensure_key(connection, "acme", "", ["read"], new) == new


def test_however_often_a_key_is_rotated_its_successors_live_as_long_as_it_was_made_for(
    connection: Connection,
) -> None:
    in_a_year = datetime.now(UTC) + timedelta(days=365)
    for expires_at in (None, in_a_year):
        name = str(expires_at)
        oldest = str(parse_prefix(create_key(connection, "acme", name, ["read"], expires_at)))
        # Twice the oldest, within the overlap; then a successor, which got its lifetime from a key that ends earlier.
        rotate_key(connection, "acme", oldest, timedelta(hours=1))
        successor = rotate_key(connection, "acme", oldest, timedelta(hours=1))
        rotate_key(connection, "acme", str(parse_prefix(successor)), timedelta(minutes=1))

        first, second, third, newest = (
            key.expires_at for key in list_keys(connection, "acme") if key.name == name
        )
        for soon in (first, third):
            assert soon is not None
            assert soon <= datetime.now(UTC) + timedelta(hours=1)
        for lasting in (second, newest):
            if expires_at is None:
                assert lasting is None
            else:
                assert lasting is not None
                assert abs(lasting - expires_at) < timedelta(minutes=5)


def test_only_the_tenants_own_key_can_be_revoked_and_once_is_for_good(connection: Connection) -> None:
    prefix = str(parse_prefix(create_key(connection, "acme", "", ["read"])))

    with pytest.raises(ApiKeyError):
        revoke_key(connection, "other", prefix)
    revoke_key(connection, "acme", prefix)
    (first,) = list_keys(connection)
    revoke_key(connection, "acme", prefix)
    assert list_keys(connection) == [first]
    assert first.revoked_at is not None


def test_unknown_tenants_and_scopes_are_refused(connection: Connection) -> None:
    with pytest.raises(TenantError):
        create_key(connection, "nobody", "", ["read"])
    for scopes in ([], ["write"], ["read", "root"]):
        with pytest.raises(ApiKeyError):
            create_key(connection, "acme", "", scopes)
    with pytest.raises(TenantError, match="exists already"):
        create_tenant(connection, "acme", "Acme again")
    with pytest.raises(TenantError, match="is no tenant slug"):
        create_tenant(connection, "-acme", "Acme")
    assert list_keys(connection) == []
