"""Event types as data: the platform's own, published from the code, and those of a tenant."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from common.database.queries import Queries
from common.errors import SsppError
from infrastructure.database.connections import Connection
from infrastructure.database.tenants import tenant_id_of
from worker.domains import DOMAINS
from worker.domains.domain import EventType, SignalType

_NAME = re.compile(r"[a-z][a-z0-9_.]{0,99}")

_sql = Queries(__package__, "event_types.sql")


class EventTypeError(SsppError):
    """The event type cannot be added."""

    code = "event_type_error"


@dataclass(frozen=True, slots=True)
class StoredEventType:
    """One version of one event type, as stored.

    `tenant` is a slug. The platform's types have no `signal_type` and `signal_score` of their own: their
    domain derives both from the event.
    """

    tenant: str
    event_type: str
    version: int
    description: str
    signal_type: str | None
    signal_score: float | None
    schema: Mapping[str, Any]


def publish_platform_types(connection: Connection) -> int:
    """Write the domains' event types as the platform's (tenant 0); returns how many were new or changed.

    Reads first: when nothing differs, nothing is written. Types that the code no longer has stay, as stored
    events may be of them.
    """
    published = {
        (event_type, version): (schema, description)
        for event_type, version, schema, description in connection.execute(_sql.list_platform_types)
    }
    changed = [
        event_type
        for domain in DOMAINS
        for event_type in domain.event_types
        if published.get((event_type.name, event_type.version)) != (event_type.schema, event_type.description)
    ]
    with connection.transaction():
        for event_type in changed:
            connection.execute(_sql.publish_type, _row(event_type))
    return len(changed)


def list_types(connection: Connection, tenant_slug: str | None = None) -> list[StoredEventType]:
    """The event types of one tenant or, without a slug, of all; the platform's are those of ``platform``.

    Raises:
        TenantError: there is no such tenant.
    """
    tenant_id = None if tenant_slug is None else tenant_id_of(connection, tenant_slug)
    with connection.cursor(row_factory=class_row(StoredEventType)) as cursor:
        return cursor.execute(_sql.list_types, {"tenant_id": tenant_id}).fetchall()


def add_type(
    connection: Connection,
    tenant_slug: str,
    event_type: EventType,
    *,
    signal_type: SignalType,
    signal_score: float,
) -> bool:
    """Give a tenant an event type of its own; False if it has exactly this one already.

    A stored version never changes, as events were accepted by it: what differs is a new version.
    `signal_score` is from 0 to 1.

    Raises:
        TenantError: there is no such tenant.
        EventTypeError: the name is not well-formed or is the platform's, the schema is no JSON Schema
            (2020-12) or refers to other documents, or this version is stored with another content.
    """
    if _NAME.fullmatch(event_type.name) is None:
        raise EventTypeError(
            f"{event_type.name!r} is no event type: up to 100 small letters, digits, _ and ., a letter first"
        )
    _compile(event_type.schema)
    tenant_id = tenant_id_of(connection, tenant_slug)
    if connection.execute(_sql.find_platform_type, {"event_type": event_type.name}).fetchone() is not None:
        raise EventTypeError(f"the platform has an event type {event_type.name!r} already; take another name")
    row = _row(event_type) | {
        "tenant_id": tenant_id,
        "signal_type": signal_type.value,
        "signal_score": signal_score,
    }
    if connection.execute(_sql.add_type, row).fetchone() is not None:
        return True
    if connection.execute(_sql.match_type, row).fetchone() is not None:
        return False
    raise EventTypeError(
        f"{event_type.name} v{event_type.version} exists with another content, and stored versions do not "
        "change: give it the next version"
    )


def _row(event_type: EventType) -> dict[str, object]:
    return {
        "event_type": event_type.name,
        "version": event_type.version,
        "schema": Jsonb(event_type.schema),
        "description": event_type.description,
    }


def _compile(schema: Mapping[str, Any]) -> None:
    try:
        jsonschema_rs.Draft202012Validator(dict(schema), retriever=_refuse_reference)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        raise EventTypeError(f"not a JSON Schema (2020-12): {str(error).splitlines()[0]}") from error


def _refuse_reference(uri: str) -> Any:
    # A worker must be able to validate without a network, and must not be sent to addresses by a tenant.
    raise ValueError(f"a schema stands alone, but this one refers to {uri}")
