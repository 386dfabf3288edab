"""Rows for the API to read: tenants, their keys, and what the workers would have written for them."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from common.envelope import event_key, signal_id
from common.tenancy.secrets import new_key

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class ApiStore:
    """Writes what the workers would have written."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def waiting_for_locks(self) -> int:
        """How many sessions of this database do."""
        [(count,)] = self.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(count)

    def tenant(self, slug: str) -> int:
        [(tenant_id,)] = self.execute(
            "INSERT INTO tenants (slug, name) VALUES (%s, %s) RETURNING tenant_id", (slug, slug)
        )
        return tenant_id

    def key(
        self,
        tenant_id: int,
        *scopes: str,
        expires_at: datetime | None = None,
        revoked_at: datetime | None = None,
    ) -> str:
        secret, prefix, digest = new_key()
        self.execute(
            "INSERT INTO api_keys (tenant_id, prefix, key_hash, scopes, expires_at, revoked_at)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            (tenant_id, prefix, digest, list(scopes), expires_at, revoked_at),
        )
        return secret

    def event(
        self,
        tenant_id: int,
        event_id: str,
        *,
        event_type: str = "purchase",
        customer_id: str = "c1",
        occurred_at: datetime = NOON,
        received_at: datetime = NOON,
        trace_id: str | None = None,
        raw: str | None = None,
        signal_type: str | None = "revenue",
        amount: str | None = "49.90",
        data: str = '{"amount": 49.90}',
        batch_id: int = 1,
    ) -> uuid.UUID:
        """An event with its one signal, or none with `signal_type` None; returns the signal's id."""
        key = event_key(tenant_id, event_id)
        raw = raw or json.dumps({"event_id": event_id, "event_type": event_type, "data": {}})
        self.execute("INSERT INTO event_keys VALUES (%s, %s, %s)", (key, tenant_id, received_at))
        self.execute(
            "INSERT INTO events (event_key, received_at, batch_id, tenant_id, event_id, event_type, customer_id,"
            " occurred_at, trace_id, raw) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                key,
                received_at,
                batch_id,
                tenant_id,
                event_id,
                event_type,
                customer_id,
                occurred_at,
                trace_id,
                raw,
            ),
        )
        found = signal_id(key, 0)
        if signal_type is not None:
            self.execute(
                "INSERT INTO signals (signal_id, received_at, tenant_id, event_id, event_type, customer_id,"
                " signal_type, signal_score, occurred_at, trace_id, amount, currency, data)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, 0.8, %s, %s, %s, %s, %s::jsonb)",
                (
                    found,
                    received_at,
                    tenant_id,
                    event_id,
                    event_type,
                    customer_id,
                    signal_type,
                    occurred_at,
                    trace_id,
                    amount,
                    "USD" if amount else None,
                    data,
                ),
            )
        return found

    def customer(
        self, tenant_id: int, customer_id: str, *, heat: float | None = None, **columns: Any
    ) -> None:
        columns = {"first_seen": NOON, "last_seen": NOON, **columns}
        names = ", ".join(columns)
        places = ", ".join(["%s"] * len(columns))
        self.execute(
            f"INSERT INTO customers (tenant_id, customer_id, heat, {names}) VALUES (%s, %s, %s, {places})",
            (tenant_id, customer_id, heat, *columns.values()),
        )

    def rejection(
        self,
        tenant_id: int,
        event_id: str,
        *,
        code: str = "schema_violation",
        event_type: str = "purchase",
        rejected_at: datetime = NOON,
        raw: str | None = None,
    ) -> uuid.UUID:
        rejection_id = uuid.uuid4()
        raw = raw or json.dumps({"event_id": event_id, "event_type": event_type, "data": {"amount": -5}})
        self.execute(
            "INSERT INTO rejected_events (rejection_id, tenant_id, event_id, event_type, customer_id, received_at,"
            " rejected_at, code, detail, path, raw)"
            " VALUES (%s, %s, %s, %s, 'c1', %s, %s, %s, 'amount is negative', '/data/amount', %s)",
            (
                rejection_id,
                tenant_id,
                event_id,
                event_type,
                rejected_at - timedelta(seconds=1),
                rejected_at,
                code,
                raw,
            ),
        )
        return rejection_id
