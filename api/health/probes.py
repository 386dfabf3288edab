"""Whether the process lives, whether it can do its work, and its figures."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Literal

import msgspec
import psycopg
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from msgspec import UNSET, Meta, UnsetType
from prometheus_client import CONTENT_TYPE_LATEST
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from api.database.fetching import fetch_one
from api.database.rights import SELECT_RIGHTS, excess_rights
from api.http.openapi import answer
from api.http.responses import json_response
from common.database.queries import Queries
from common.errors import SsppError
from common.queue.durability import INFO_SECTIONS, endangers_events
from common.redis import translated_errors
from common.search.query import SearchReader

SCHEMA_VERSION = 19
"""The newest migration that this code relies on; a test keeps it equal to the newest file."""

_CHECK_SECONDS = 2.0

router = APIRouter(tags=["operations"])
_log = structlog.get_logger(__name__)
_sql = Queries("api.health", "probes.sql")


class Alive(msgspec.Struct):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Dependency(msgspec.Struct, omit_defaults=True):
    """One server that the API uses."""

    status: Literal["ok", "error"]
    latency_ms: float
    detail: str | UnsetType = UNSET


class Readiness(msgspec.Struct):
    """Whether requests should come here."""

    status: Annotated[
        Literal["ready", "degraded", "unready"],
        Meta(description="`degraded`: events are accepted, but something else does not work at the moment."),
    ]
    dependencies: dict[str, Dependency]


class HealthChecks:
    """The checks behind ``/readyz``, and the rule that sums them up.

    Redis is what accepting events needs, so without it, or with one that in production would endanger what it
    acknowledged, the process is unready. PostgreSQL, migrated, must have
    been seen once, and in strict production not by a role that is too mighty. From then on its absence only
    degrades, and so does that of Elasticsearch: to take every API process out of service then would stop the
    ingest, which goes on without them.
    """

    def __init__(
        self,
        database: AsyncConnectionPool,
        redis: Redis,
        search: SearchReader,
        *,
        environment: Literal["production", "development"],
        strict: bool = False,
    ) -> None:
        self._environment = environment
        self._strict = strict
        self._database = database
        self._redis = redis
        self._search = search
        self._database_was_seen = False

    async def check(self) -> Readiness:
        """Ask all dependencies at once, each for at most 2 seconds."""
        checks: dict[str, Callable[[], Awaitable[None]]] = {
            "postgresql": self._check_database,
            "redis": self._check_redis,
            "elasticsearch": self._search.ping,
        }
        results = await asyncio.gather(*(_measure(name, check) for name, check in checks.items()))
        dependencies = dict(zip(checks, results, strict=True))
        failed = {name for name, dependency in dependencies.items() if dependency.status == "error"}
        self._database_was_seen |= "postgresql" not in failed
        if "redis" in failed or not self._database_was_seen:
            return Readiness("unready", dependencies)
        return Readiness("degraded" if failed else "ready", dependencies)

    async def _check_database(self) -> None:
        try:
            row = await fetch_one(self._database, _sql.find_schema_version, {})
        except psycopg.errors.UndefinedTable:
            row = None
        version = row["version"] if row else 0
        if version < SCHEMA_VERSION:
            raise SsppError(f"the schema is at version {version} of {SCHEMA_VERSION}; run sspp migrate")
        if self._strict and (excess := excess_rights(await fetch_one(self._database, SELECT_RIGHTS, {}))):
            raise SsppError(excess)

    async def _check_redis(self) -> None:
        with translated_errors():
            danger = endangers_events(await self._redis.info(*INFO_SECTIONS))
        if danger and self._environment == "production":
            raise SsppError(danger)


async def _measure(name: str, check: Callable[[], Awaitable[None]]) -> Dependency:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except TimeoutError:
        problem = f"no answer within {_CHECK_SECONDS:g} seconds"
    except SsppError as error:
        problem = error.detail
    except Exception:  # noqa: BLE001  # whatever a driver comes up with, the others still get their line
        _log.exception("health_check_failed", dependency=name)
        problem = "the check failed; see the log"
    else:
        return Dependency("ok", _milliseconds(started))
    return Dependency("error", _milliseconds(started), problem)


def _milliseconds(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 1)


@router.get("/healthz", summary="Alive?", responses=answer(Alive, {"status": "ok"}))
async def healthz() -> Response:
    """200 while the process answers; says nothing on what it depends on."""
    return json_response(Alive())


@router.get(
    "/readyz",
    summary="Ready?",
    responses={
        **answer(
            Readiness,
            {
                "status": "degraded",
                "dependencies": {
                    "postgresql": {"status": "ok", "latency_ms": 1.1},
                    "redis": {"status": "ok", "latency_ms": 0.4},
                    "elasticsearch": {
                        "status": "error",
                        "latency_ms": 2.3,
                        "detail": "Elasticsearch cannot be reached: ConnectionError; try again shortly",
                    },
                },
            },
            description="Events are accepted; `degraded` if something else does not work at the moment.",
        ),
        **answer(
            Readiness,
            {
                "status": "unready",
                "dependencies": {
                    "postgresql": {"status": "ok", "latency_ms": 1.1},
                    "redis": {
                        "status": "error",
                        "latency_ms": 0.7,
                        "detail": "Redis cannot be reached; try again shortly",
                    },
                    "elasticsearch": {"status": "ok", "latency_ms": 2.3},
                },
            },
            status=503,
            description="No events can be accepted: Redis is away or unsafe, or PostgreSQL was never seen, migrated.",
        ),
    },
)
async def readyz(request: Request) -> Response:
    """Each dependency by name, as it was within the last second.

    503 only when events cannot be accepted, so that the rest may fail alone.
    """
    readiness = await request.app.state.services.readiness.get()
    return json_response(readiness, status=503 if readiness.status == "unready" else 200)


@router.get(
    "/metrics",
    summary="Prometheus metrics",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "The text format of Prometheus.",
            "content": {
                "text/plain": {
                    "schema": {"type": "string"},
                    "example": "# TYPE sspp_events_accepted_total counter\nsspp_events_accepted_total 69659.0\n",
                }
            },
        },
    },
)
async def metrics(request: Request) -> Response:
    """Every metric of this process, and what waits in the lanes and the outbox, as it was within the last second."""
    body = await request.app.state.services.scraped.get()
    return Response(body, headers={"Content-Type": CONTENT_TYPE_LATEST})
