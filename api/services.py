"""All that the requests of one API process share, made once, by `api.app`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis

from api.access.authenticator import Authenticator
from api.access.key_uses import KeyUses
from api.access.rate_limits import RateLimits
from api.audit.call_log import AuditLog
from api.database.management import CONNECTIONS, Management
from api.database.tenant_pool import TenantPool
from api.health.probes import HealthChecks, Readiness
from api.health.scraping import Scraping
from api.health.shared_answers import SharedAnswer
from api.http.body_budget import BodyBudget
from api.http.refused_heads import RefusedHeads
from api.http.security_headers import SecurityHeaders
from api.ingest.admission import Admission
from api.ingest.publisher import Publisher
from common.clock import Clock, system_clock
from common.database.connections import build_async_pool, open_pool
from common.metrics import Metrics
from common.production import is_strict
from common.queue.backlog import measure_lanes
from common.queue.withheld import WithheldEvents
from common.queue.withheld_records import WithheldRecords
from common.redis import open_async_redis, open_redis
from common.search.client import open_async_client
from common.search.query import SearchReader
from common.settings import Settings
from common.tracing.tracing import NO_TRACING, Tracing
from common.wakeup import Waker

_SHARED_SECONDS = 1.0
"""For how long an answer that anybody may ask for is kept."""


@dataclass(frozen=True, slots=True)
class ApiServices:
    """What routes find in ``request.app.state.services``."""

    settings: Settings
    database: AsyncConnectionPool
    management: Management
    redis: Redis
    search: SearchReader
    publisher: Publisher
    withheld: WithheldEvents
    withheld_records: WithheldRecords
    admission: Admission
    bodies: BodyBudget
    rate_limits: RateLimits
    authenticator: Authenticator
    audit: AuditLog
    health: HealthChecks
    readiness: SharedAnswer[Readiness]
    scraped: SharedAnswer[bytes]
    refused_heads: RefusedHeads
    metrics: Metrics
    clock: Clock


@asynccontextmanager
async def open_services(
    settings: Settings, metrics: Metrics, clock: Clock = system_clock, tracing: Tracing = NO_TRACING
) -> AsyncIterator[ApiServices]:
    """The services for as long as the context lasts; then pushes what still waits and closes everything.

    No server needs to be there: clients connect when they are first used, and again after an outage.

    Raises:
        SettingsError: a URL is malformed.
    """
    async with AsyncExitStack() as stack:
        database = build_async_pool(
            settings.database_url.get_secret_value(),
            application="sspp-api",
            make=partial(TenantPool, metrics=metrics),
        )
        await database.open(wait=False)
        stack.push_async_callback(database.close)

        # Slow reads may hold all other connections: whether a key was revoked is found out all the same.
        key_database = build_async_pool(
            settings.database_url.get_secret_value(), application="sspp-api-keys", max_size=2
        )
        await key_database.open(wait=False)
        stack.push_async_callback(key_database.close)

        management = Management(
            open_pool(
                settings.database_url.get_secret_value(),
                application="sspp-api-admin",
                max_size=CONNECTIONS,
                sees_all_rows=False,
            ),
            metrics,
        )
        stack.callback(management.close)

        audit = AuditLog(database, metrics)
        audit.start()
        stack.push_async_callback(audit.stop)
        uses = KeyUses(database)
        uses.start()
        stack.push_async_callback(uses.stop)

        search = SearchReader(
            open_async_client(
                settings.elasticsearch_url.get_secret_value(), ca_file=settings.elasticsearch_ca_file
            )
        )
        stack.push_async_callback(search.close)

        redis_url = settings.redis_url.get_secret_value()
        redis = open_async_redis(redis_url)
        stack.push_async_callback(redis.aclose)
        # RQ is synchronous: a client of its own, used in threads.
        waker_redis = open_redis(redis_url)
        stack.callback(waker_redis.close)
        admission = Admission(redis, settings, metrics)
        await admission.start()
        stack.push_async_callback(admission.stop)
        cache = open_async_redis(settings.cache_or_default_url)
        stack.push_async_callback(cache.aclose)
        publisher = Publisher(
            redis,
            Waker(waker_redis, liveness_seconds=settings.liveness_seconds),
            metrics,
            admission,
            liveness_seconds=settings.liveness_seconds,
            tracing=tracing,
        )
        metrics.before_scrape(lambda: measure_lanes(waker_redis, metrics))
        await publisher.start()
        stack.push_async_callback(publisher.stop)

        health = HealthChecks(
            database, redis, search, environment=settings.environment, strict=is_strict(settings)
        )
        scraping = Scraping(database, metrics)
        stack.callback(scraping.close)

        yield ApiServices(
            settings=settings,
            database=database,
            management=management,
            redis=redis,
            search=search,
            publisher=publisher,
            withheld=WithheldEvents(waker_redis),
            withheld_records=WithheldRecords(waker_redis),
            admission=admission,
            bodies=BodyBudget(
                max_bytes=settings.max_inflight_bytes,
                timeout_seconds=settings.body_timeout_seconds,
                metrics=metrics,
            ),
            rate_limits=RateLimits(cache, metrics, clock, max_request_events=settings.max_request_events),
            audit=audit,
            authenticator=Authenticator(key_database, uses, clock),
            health=health,
            readiness=SharedAnswer(health.check, seconds=_SHARED_SECONDS),
            scraped=SharedAnswer(scraping.read, seconds=_SHARED_SECONDS),
            refused_heads=RefusedHeads(SecurityHeaders(hsts_seconds=settings.hsts_seconds), metrics),
            metrics=metrics,
            clock=clock,
        )
