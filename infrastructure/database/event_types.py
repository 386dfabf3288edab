"""The platform's own event types, published from the code into the database."""

from psycopg.types.json import Jsonb

from common.database.queries import Queries
from infrastructure.database.connections import Connection
from worker.domains import DOMAINS

_sql = Queries(__package__, "event_types.sql")


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
            connection.execute(
                _sql.publish_type,
                {
                    "event_type": event_type.name,
                    "version": event_type.version,
                    "schema": Jsonb(event_type.schema),
                    "description": event_type.description,
                },
            )
    return len(changed)
