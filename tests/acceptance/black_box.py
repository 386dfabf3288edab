"""A running platform as it is seen from outside: HTTP, the command line, its servers, its processes."""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import TupleRow
from starting import ROOT, bare_environment, program


@dataclass(frozen=True)
class Tenant:
    """A company of its own on the platform: what it sends disturbs no other test."""

    slug: str
    tenant_id: int
    key: str = field(repr=False)
    api: httpx.Client = field(repr=False)


@dataclass(frozen=True)
class Platform:
    """A running platform: its data folder, and the variables of its environment file."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    _connections: list[psycopg.Connection[TupleRow]] = field(default_factory=list, repr=False)

    @property
    def url(self) -> str:
        return self.environment["SSPP_API_URL"]

    def client(self, key: str = "") -> httpx.Client:
        """An HTTP client of the API, with `key` if given."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def program(self, name: str) -> str:
        """The path of a program that comes with the installation."""
        return program(name)

    def process_environment(self, **changes: str) -> dict[str, str]:
        """What a shell has that read the environment file, and nothing else of ours."""
        return {**bare_environment(), **self.environment, **changes}

    def sspp(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run an ``sspp`` command as in a shell that read the environment file."""
        return subprocess.run(
            [self.program("sspp"), *arguments],
            env=self.process_environment(**environment),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def sql(self, statement: str, *parameters: object) -> list[TupleRow]:
        """What PostgreSQL answers; asked again should a test have restarted it meanwhile."""
        try:
            return self.connect().execute(statement, parameters).fetchall()
        except psycopg.OperationalError:
            return self.connect().execute(statement, parameters).fetchall()

    def connect(self) -> psycopg.Connection[TupleRow]:
        """A connection to PostgreSQL, kept for the next time."""
        if not self._connections or self._connections[-1].closed:
            self._connections.append(psycopg.connect(self.environment["DATABASE_URL"], autocommit=True))
        return self._connections[-1]

    def close(self) -> None:
        """Give up what was opened on the way."""
        for connection in self._connections:
            connection.close()

    def stored(self, tenant: Tenant) -> dict[str, Any]:
        """What the database holds of a tenant: the ids of its stored events, its signals and customers' sums."""
        ((events, signals),) = self.sql(
            "SELECT (SELECT array_agg(event_id) FROM events WHERE tenant_id = t),"
            " (SELECT count(*) FROM signals WHERE tenant_id = t) FROM (VALUES (%s::integer)) AS asked (t)",
            tenant.tenant_id,
        )
        ((counted, amount),) = self.sql(
            "SELECT coalesce(sum(signal_count), 0)::integer, coalesce(sum((totals ->> 'USD')::numeric), 0)"
            " FROM customers WHERE tenant_id = %s",
            tenant.tenant_id,
        )
        return {"ids": sorted(events or ()), "signals": signals, "counted": counted, "amount": amount}

    def search(self, path: str, **body: Any) -> dict[str, Any]:
        """What the search server itself answers."""
        url = self.environment["ELASTICSEARCH_URL"]
        answer = httpx.post(url + path, json=body, timeout=30, trust_env=False)
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def pid(self, name: str) -> int:
        """The number of one of the platform's own processes, from its records."""
        return int(json.loads((self.folder / "run" / f"{name}.json").read_text())["pid"])

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to one of the platform's own processes; returns its number."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def log_lines(self, name: str) -> list[dict[str, Any]]:
        """The JSON lines that a process logged so far."""
        return json_lines(self.folder / "logs" / f"{name}.log")

    def new_tenant(self) -> Tenant:
        """Make a tenant and a key for all scopes, by the command line."""
        slug = f"test-{secrets.token_hex(4)}"
        made = self.sspp("tenants", "create", slug, "--name", "A test")
        assert made.returncode == 0, made.stderr
        key = self.new_key(slug, "ingest", "read", "tenant_admin")
        ((tenant_id,),) = self.sql("SELECT tenant_id FROM tenants WHERE slug = %s", slug)
        return Tenant(slug, tenant_id, key, self.client(key))

    def new_key(self, slug: str, *scopes: str) -> str:
        """Make a key of the tenant, by the command line."""
        options = [word for scope in scopes for word in ("--scope", scope)]
        made = self.sspp("keys", "create", slug, *options)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()


def purchase(
    event_id: str, customer_id: str = "c-1", amount: object = "1.50", **fields: Any
) -> dict[str, Any]:
    """A purchase, as a client sends it."""
    return {
        "event_id": event_id,
        "event_type": "purchase",
        "customer_id": customer_id,
        "data": {"amount": amount, "currency": "USD"},
        **fields,
    }


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of `path` that are JSON objects."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
