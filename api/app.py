"""The composition root of the API, which ``python -m api`` runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version

import structlog
from fastapi import FastAPI

from api.access import cors
from api.admin import keys as admin_keys
from api.admin import plans as admin_plans
from api.admin import tenants as admin_tenants
from api.audit import api_logs
from api.event_types import changes as event_type_changes
from api.event_types import listing as event_types
from api.health import probes
from api.http import docs
from api.http.client_address import ClientAddresses
from api.http.direct_routes import DirectApp
from api.http.errors import install_error_handlers
from api.http.openapi import DESCRIPTION, TAGS, install_openapi
from api.http.security_headers import SecurityHeaders
from api.ingest import events as ingest
from api.people import erasures, export, profiles, suppression
from api.reading import customers, events, search, signals, usage
from api.rejected import rejections, replay
from api.request_context import RequestContext
from api.request_traces import RequestTraces
from api.services import open_services
from common.clock import Clock, system_clock
from common.logging import configure_logging
from common.metrics import Metrics
from common.setting_values import split_list
from common.settings import Settings, load_settings
from common.tracing.opening import open_tracing
from common.tracing.tracing import Tracing

_log = structlog.get_logger(__name__)


def create_app(
    settings: Settings | None = None, *, clock: Clock = system_clock, tracing: Tracing | None = None
) -> FastAPI:
    """The API; its clients are made when it starts and closed when it stops.

    It starts whether or not its servers are there: ``/readyz`` says which are. Events are accepted as soon as
    Redis is there and the key is known.

    Args:
        settings: default: read from the environment, and logging is configured accordingly; whoever hands
            settings in also looks after logging.
        clock: what time it is.
        tracing: what it traces by, which the caller closes; default: what the settings say.

    Raises:
        SettingsError: the environment lacks a setting, or a value is wrong.
    """
    if settings is None:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
    metrics = Metrics()
    traces = open_tracing(settings, service="sspp-api") if tracing is None else tracing

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services(settings, metrics, clock, traces) as services:
            app.state.services = services
            readiness = await services.health.check()
            _log.info(
                "api_started",
                settings=settings.masked(),
                dependencies={name: found.status for name, found in readiness.dependencies.items()},
            )
            yield
        if tracing is None:
            await asyncio.to_thread(traces.close)
        _log.info("api_stopped")

    app = DirectApp(
        title="Sales Signal Processing Platform",
        version=_version(),
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,  # `api.http.docs` has it
        redoc_url=None,
        # A path either is a route or is not; an id may well end in a slash.
        redirect_slashes=False,
        lifespan=lifespan,
    )
    # Of customers' routes the first that fits wins: the more specific ones stand first.
    for module in (
        ingest,
        cors,
        events,
        signals,
        search,
        suppression,
        export,
        erasures,
        customers,
        profiles,
        rejections,
        replay,
        event_types,
        event_type_changes,
        admin_tenants,
        admin_keys,
        admin_plans,
        usage,
        api_logs,
        probes,
        docs,
    ):
        app.include_router(module.router)
    install_error_handlers(app)
    install_openapi(app)
    surround = partial(
        RequestContext,
        metrics=metrics,
        clock=clock,
        headers=SecurityHeaders(hsts_seconds=settings.hsts_seconds),
        addresses=ClientAddresses(split_list(settings.trusted_proxies), settings.forwarded_header),
    )
    if traces.is_on:
        app.add_middleware(RequestTraces, tracing=traces)
    app.add_middleware(surround)
    app.add_direct_route(
        ingest.DIRECT_ROUTE,
        (lambda answer: surround(RequestTraces(answer, tracing=traces))) if traces.is_on else surround,
    )
    return app


def _version() -> str:
    try:
        return version("sspp")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
