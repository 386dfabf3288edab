"""The event types that tenants register for themselves: one set of rules for the command line and the API."""

import json
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from common.database.queries import Queries
from common.event_types.compatibility import find_incompatibilities
from common.event_types.errors import (
    EventTypeError,
    Incompatibility,
    IncompatibleSchemaError,
    InvalidSchemaError,
    UnknownEventTypeError,
)
from common.event_types.limits import check_schema, count_patterns
from common.event_types.signal_type import SignalType
from common.storable import parse_storable
from common.tenancy.tenants import Tenant, find_tenant, list_of_tenant

Status = Literal["active", "deprecated", "retired"]
Compatibility = Literal["backward", "none"]
Connection: TypeAlias = psycopg.Connection[Any]
Connect: TypeAlias = Callable[[], AbstractContextManager[Connection]]
"""Opens a connection for a ``with`` block; what was done is committed when that ends well."""

MOST_VERSIONS = 200
"""Of all types of a tenant together, those that are retired aside: each worker holds them in memory."""

MOST_VERSIONS_OF_A_TYPE = 20
"""Likewise, of one type: an event may be held against each of them."""

MOST_SCHEMA_BYTES = 2 * 1024 * 1024
"""Likewise, of all schemas of a tenant together, as JSON."""

MOST_PATTERNS = 256
"""Likewise, of the patterns in them."""

_MOST_ATTEMPTS = 5  # each of which found that somebody else had just registered a version
_TYPES_LOCK = 0x53535050

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,99}")

_sql = Queries(__package__, "registry.sql")


@dataclass(frozen=True, slots=True)
class Definition:
    """What an event type is to be: `schema` is what the events' data fit, `signal_score` is from 0 to 1."""

    schema: Mapping[str, Any]
    description: str
    signal_type: SignalType = SignalType.ENGAGEMENT
    signal_score: float = 0.4


@dataclass(frozen=True, slots=True)
class StoredEventType:
    """One version of an event type. Nothing of it ever changes but its status.

    `tenant` is a slug. The platform's types have no `signal_type` and `signal_score` of their own: their domain derives
    both from the event. An event is accepted if its data fit any version that is not `retired`; `deprecated` asks
    senders to move on, and refuses nothing.
    """

    tenant: str
    event_type: str
    version: int
    status: Status
    description: str
    signal_type: str | None
    signal_score: float | None
    created_at: datetime
    schema: Mapping[str, Any]


def parse_schema(text: bytes, path: str = "") -> dict[str, Any]:
    """The schema in a JSON text; it has yet to be checked.

    Raises:
        InvalidEventError: it is no JSON, or cannot be stored; `path` is that of the schema in what was sent.
        InvalidSchemaError: it is no object, or nests too deeply to be read.
    """
    if not text.lstrip().startswith(b"{"):
        raise InvalidSchemaError("must be a JSON object; {} accepts all data")
    try:
        parse_storable(text, path)
        parsed: dict[str, Any] = json.loads(text)
    except RecursionError:
        raise InvalidSchemaError("nests far too deeply") from None
    return parsed


def list_types(connection: Connection, tenant_slug: str | None = None) -> list[StoredEventType]:
    """All versions of the event types of one tenant or, without a slug, of all; the platform's are of ``platform``.

    Raises:
        UnknownTenantError: there is no such tenant.
    """
    return list_of_tenant(connection, _sql.list_types, StoredEventType, tenant_slug)


def put_type(
    connect: Connect,
    tenant_slug: str,
    name: str,
    definition: Definition,
    compatibility: Compatibility = "backward",
) -> tuple[StoredEventType, bool]:
    """Make `definition` the current version of a tenant's type `name`, and say whether it is a new version.

    The current version is the newest that is not retired. If it says the same already, it stays. Whatever events a
    worker accepts it goes on accepting, as all versions count; with the compatibility ``backward`` the new version
    accepts by itself what the current one does (`common.event_types.compatibility`).

    Schemas are checked and compared while no connection is open: it may take a good part of a second.

    Raises:
        UnknownTenantError: there is no such tenant.
        InvalidSchemaError: see `check_schema`.
        IncompatibleSchemaError: the compatibility is ``backward``, and the new version is a break.
        EventTypeError: the name is not well-formed or is the platform's, the tenant has too many versions, or others
            register one after the other meanwhile.
    """
    if _NAME.fullmatch(name) is None:
        raise EventTypeError(
            f"{name!r} is no event type: up to 100 small letters, digits, _ and ., a letter first"
        )
    check_schema(definition.schema)
    may_follow: int | Literal["any"] | None = "any" if compatibility == "none" else None
    for _ in range(_MOST_ATTEMPTS):
        with connect() as connection:
            stored, outcome = _put_version(connection, tenant_slug, name, definition, may_follow)
        if outcome != "uncompared":
            return stored, outcome == "added"
        _check_compatibility(stored, definition.schema)
        may_follow = stored.version
    raise EventTypeError("others register versions of this type meanwhile; try again")


def set_status(
    connect: Connect, tenant_slug: str, name: str, version: int, status: Status
) -> StoredEventType:
    """Deprecate or retire a version of a tenant's own type, or make it active again; workers know within seconds.

    Raises:
        UnknownTenantError: there is no such tenant.
        UnknownEventTypeError: it has no such type of its own, or no such version of it.
        EventTypeError: the tenant is the platform itself, or would have too many versions that are not retired.
    """
    with connect() as connection, _locked_types(connection, tenant_slug) as (tenant, cursor):
        wanted = {"tenant_id": tenant.tenant_id, "event_type": name, "version": version, "status": status}
        comes_back = (
            status != "retired" and connection.execute(_sql.is_retired, wanted).fetchone() is not None
        )
        changed = cursor.execute(_sql.set_status, wanted).fetchone()
        if comes_back:
            _check_limits(connection, tenant.tenant_id, name)
    if changed is None:
        raise UnknownEventTypeError(f"tenant {tenant_slug!r} has no version {version} of a type {name!r}")
    return changed


def _put_version(
    connection: Connection,
    tenant_slug: str,
    name: str,
    definition: Definition,
    may_follow: int | Literal["any"] | None,
) -> tuple[StoredEventType, Literal["added", "same", "uncompared"]]:
    """The version that now is the current one, or the one that `definition` has yet to be compared with.

    It is added if it says something new, and follows no version or the one that it `may_follow`.
    """
    with _locked_types(connection, tenant_slug) as (tenant, cursor):
        wanted = {
            "tenant_id": tenant.tenant_id,
            "event_type": name,
            "schema": Jsonb(definition.schema),
            "description": definition.description,
            "signal_type": definition.signal_type.value,
            # As PostgreSQL keeps it; what is too small for that, which it would refuse, is 0.
            "signal_score": struct.unpack("f", struct.pack("f", definition.signal_score))[0],
        }
        if connection.execute(_sql.find_platform_type, wanted).fetchone() is not None:
            raise EventTypeError(f"the platform has an event type {name!r} already; take another name")
        current = cursor.execute(_sql.find_current_version, wanted).fetchone()
        if current is not None:
            if connection.execute(_sql.matches_version, wanted | {"version": current.version}).fetchone():
                return current, "same"
            if may_follow not in ("any", current.version):
                return current, "uncompared"
        added = cursor.execute(_sql.add_version, wanted).fetchone()
        assert added is not None
        _check_limits(connection, tenant.tenant_id, name)
        return added, "added"


@contextmanager
def _locked_types(
    connection: Connection, tenant_slug: str
) -> Iterator[tuple[Tenant, psycopg.Cursor[StoredEventType]]]:
    """A transaction in which nobody else changes the tenant's types: it numbers versions, and holds them to limits."""
    tenant = _owner(connection, tenant_slug)
    with connection.transaction(), connection.cursor(row_factory=class_row(StoredEventType)) as cursor:
        connection.execute(_sql.lock_types, {"lock_class": _TYPES_LOCK, "tenant_id": tenant.tenant_id})
        yield tenant, cursor


def _check_limits(connection: Connection, tenant_id: int, name: str) -> None:
    """Refuse what the transaction has just made of the tenant's versions, if it is too much; `name` has one more."""
    rows = connection.execute(_sql.load_versions_in_use, {"tenant_id": tenant_id}).fetchall()
    for count, most, what in (
        (len(rows), MOST_VERSIONS, "versions"),
        (sum(event_type == name for event_type, _ in rows), MOST_VERSIONS_OF_A_TYPE, "versions of a type"),
        (sum(_size(schema) for _, schema in rows), MOST_SCHEMA_BYTES, "bytes of schemas"),
        (sum(count_patterns(schema) for _, schema in rows), MOST_PATTERNS, "patterns"),
    ):
        if count > most:
            raise EventTypeError(f"a tenant has at most {most} {what}, in versions that are not retired")


def _size(schema: Mapping[str, Any]) -> int:
    return len(json.dumps(schema, ensure_ascii=False).encode())


def _check_compatibility(current: StoredEventType, schema: Mapping[str, Any]) -> None:
    try:
        check_schema(current.schema)
    except InvalidSchemaError:  # it was taken before there were such limits
        found = [
            Incompatibility(
                "", f"cannot be compared with version {current.version}, which is beyond the limits"
            )
        ]
    else:
        found = find_incompatibilities(current.schema, schema)
    if found:
        raise IncompatibleSchemaError(current.version, found)


def _owner(connection: Connection, slug: str) -> Tenant:
    tenant = find_tenant(connection, slug)
    if tenant.tenant_id == 0:
        raise EventTypeError("the platform's event types come with its code")
    return tenant
