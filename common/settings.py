"""Every setting of every process, read from the environment and nowhere else (12-factor)."""

from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import SettingsError
from common.setting_values import ExistingFile, Networks, StoreNames
from common.store_urls import mask_password


class Settings(BaseSettings):
    """The effective settings of one process; immutable once read.

    Names without a prefix are the conventional ones; everything of our own is ``SSPP_*``. URLs are secrets,
    as they may carry passwords: `masked` is what may be logged.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", case_sensitive=True, populate_by_name=True, allow_inf_nan=False
    )

    database_url: SecretStr = Field(alias="DATABASE_URL", description="PostgreSQL, as a libpq URL.")
    redis_url: SecretStr = Field(
        alias="REDIS_URL",
        description="Redis or Valkey for the event lanes and RQ. Needs AOF and maxmemory-policy noeviction.",
    )
    cache_url: SecretStr | None = Field(
        alias="CACHE_URL",
        default=None,
        description="Redis for what may be forgotten: how much each tenant sends at the moment. Default: database 1 of"
        " REDIS_URL's server.",
    )
    elasticsearch_url: SecretStr = Field(
        alias="ELASTICSEARCH_URL", description="Elasticsearch; user and password go into the URL."
    )
    environment: Literal["production", "development"] = Field(
        alias="SSPP_ENVIRONMENT",
        default="production",
        description="In production a Redis that could lose acknowledged events (no AOF, or a maxmemory-policy other"
        " than noeviction) is refused; in development it is a warning. Also refused in production: stores beyond this"
        " machine without password or encryption, well-known passwords, LOG_LEVEL=DEBUG, and an API whose database role"
        " row-level security does not bind. While this is not set and all stores are on this machine, those four are"
        " let through.",
    )
    allow_plaintext: StoreNames = Field(
        alias="SSPP_ALLOW_PLAINTEXT",
        default="",
        description="Which of postgresql, redis, elasticsearch (a list with commas) production may reach without"
        " encryption beyond this machine, since the network keeps others out.",
    )
    elasticsearch_ca_file: ExistingFile = Field(
        alias="SSPP_ELASTICSEARCH_CA_FILE",
        default="",
        description="The certificates (PEM) that vouch for an https ELASTICSEARCH_URL; default: those that the machine"
        " trusts. For PostgreSQL and Redis the URL says so.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        alias="LOG_LEVEL", default="INFO", description="The least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        alias="LOG_FORMAT", default="json", description="One JSON object a line, or coloured text for people."
    )
    tracing: bool = Field(
        alias="SSPP_TRACING",
        default=False,
        description="Whether to make traces, as OpenTelemetry's variables (OTEL_*) have it; needs the extra otel.",
    )
    port: int = Field(alias="PORT", default=8000, ge=0, le=65535, description="The API's TCP port.")
    host: str = Field(
        alias="SSPP_HOST",
        default="127.0.0.1",
        description="The address that the API listens on; 0.0.0.0 for all, as in a container.",
    )
    trusted_proxies: Networks = Field(
        alias="SSPP_TRUSTED_PROXIES",
        default="",
        description="Networks of the reverse proxies in front of the API (10.0.0.0/8,::1), whose word it takes for a"
        " client's address.",
    )
    forwarded_header: Literal["x-forwarded-for", "forwarded"] = Field(
        alias="SSPP_FORWARDED_HEADER",
        default="x-forwarded-for",
        description="The header in which those proxies say so; they have to write it themselves or add to it.",
    )
    hsts_seconds: int = Field(
        alias="SSPP_HSTS_SECONDS",
        default=0,
        ge=0,
        description="Strict-Transport-Security of each answer, where a proxy in front of the API speaks TLS: 31536000"
        " for a year, 0 for none.",
    )

    max_body_bytes: int = Field(
        alias="SSPP_MAX_BODY_BYTES",
        default=16 * 1024 * 1024,
        ge=1024,
        description="Largest request body, as sent and after decompression, in bytes.",
    )
    max_event_bytes: int = Field(
        alias="SSPP_MAX_EVENT_BYTES",
        default=256 * 1024,
        ge=256,
        description="Largest single event, in bytes of JSON.",
    )
    max_request_events: int = Field(
        alias="SSPP_MAX_REQUEST_EVENTS", default=10_000, ge=1, description="Most events in one request."
    )
    max_nesting: int = Field(
        alias="SSPP_MAX_NESTING",
        default=16,
        ge=2,
        le=64,
        description="Deepest nesting of one event's JSON; the envelope itself is level 1.",
    )
    max_inflight_bytes: int = Field(
        alias="SSPP_MAX_INFLIGHT_BYTES",
        default=256 * 1024 * 1024,
        ge=1024,
        description="Bytes of request bodies that one API process holds at a time; beyond it 503. Several times"
        " SSPP_MAX_BODY_BYTES.",
    )
    body_timeout_seconds: float = Field(
        alias="SSPP_BODY_TIMEOUT_SECONDS",
        default=60.0,
        gt=0,
        description="How long a request's body may take to arrive, in seconds; beyond it 408.",
    )

    max_queued_bytes: int = Field(
        alias="SSPP_MAX_QUEUED_BYTES",
        default=512 * 1024 * 1024,
        ge=1,
        description="Bytes of events in the queue, of all tenants; beyond it the API answers 503.",
    )
    max_tenant_queued_bytes: int = Field(
        alias="SSPP_MAX_TENANT_QUEUED_BYTES",
        default=128 * 1024 * 1024,
        ge=1,
        description="Bytes of one tenant's events in the queue; beyond it the API answers the tenant 429.",
    )
    lane_share_bytes: int = Field(
        alias="SSPP_LANE_SHARE_BYTES",
        default=64 * 1024,
        ge=0,
        description="Bytes of one tenant's events that may wait in front of those of the tenants that share its lane,"
        " or join them each second; what it has waiting beyond that lets them pass.",
    )
    max_queue_age_seconds: float = Field(
        alias="SSPP_MAX_QUEUE_AGE_SECONDS",
        default=3600.0,
        ge=0,
        description="How long the oldest event of a lane may wait, in seconds, before the API answers the lane's"
        " tenants 503; 0 for any time.",
    )
    max_redis_memory: float = Field(
        alias="SSPP_MAX_REDIS_MEMORY",
        default=0.75,
        gt=0,
        le=1,
        description="Share of Redis's maxmemory in use from which the API answers 503; without maxmemory no limit.",
    )

    batch_events: int = Field(
        alias="SSPP_BATCH_EVENTS",
        default=5000,
        ge=1,
        description="Events that a drain aims to process in one transaction or bulk request.",
    )
    drain_budget_seconds: float = Field(
        alias="SSPP_DRAIN_BUDGET_SECONDS",
        default=30.0,
        gt=0,
        le=3600,
        description="How long one drain works before it hands over to the next RQ job.",
    )
    drain_linger_seconds: float = Field(
        alias="SSPP_DRAIN_LINGER_SECONDS",
        default=2.0,
        ge=0,
        le=3600,
        description="How long an idle drain waits for more work before it ends.",
    )
    liveness_seconds: float = Field(
        alias="SSPP_LIVENESS_SECONDS",
        default=5.0,
        ge=0.1,
        le=3600,
        description="How long a silent drain or worker counts as alive; its work is taken over after that.",
    )

    max_refused_share: float = Field(
        alias="SSPP_MAX_REFUSED_SHARE",
        default=0.5,
        ge=0,
        le=1,
        description="Share of a tenant's recent events beyond which a worker withholds refusals instead of making"
        " them: its code is the suspect. 1 for no limit.",
    )
    refusal_grace: int = Field(
        alias="SSPP_REFUSAL_GRACE",
        default=1000,
        ge=0,
        description="Recent refusals that are never too many, whatever their share; 100 at most for faults of our own"
        " code.",
    )
    refusal_window_seconds: float = Field(
        alias="SSPP_REFUSAL_WINDOW_SECONDS",
        default=600.0,
        gt=0,
        description="What counts as recent for refusals, in seconds: after so long 37 % of a count are left.",
    )

    retention_months: int = Field(
        alias="SSPP_RETENTION_MONTHS",
        default=0,
        ge=0,
        le=1200,
        description="Full months of events and signals to keep, by received_at; 0 keeps everything.",
    )
    archive_url: str = Field(
        alias="SSPP_ARCHIVE_URL",
        default="",
        description="Where `sspp partitions drop` archives what it drops: a folder, or s3://bucket/prefix. If it is"
        " set, maintenance workers leave dropping to that command.",
    )
    partitions_ahead: int = Field(
        alias="SSPP_PARTITIONS_AHEAD",
        default=3,
        ge=1,
        le=120,
        description="How many months ahead the partitions exist.",
    )
    outbox_keep_seconds: int = Field(
        alias="SSPP_OUTBOX_KEEP_SECONDS",
        default=900,
        ge=0,
        le=7 * 86400,
        description="How long indexed outbox rows stay, so that they can be sent again.",
    )
    index_resend_seconds: int = Field(
        alias="SSPP_INDEX_RESEND_SECONDS",
        default=120,
        ge=0,
        le=86400,
        description="After a search server restarted or lost writes, at least the last so many seconds of indexing"
        " before that are sent again; their outbox rows stay for as long as they may be needed.",
    )

    worker_metrics_port: int = Field(
        alias="SSPP_WORKER_METRICS_PORT",
        default=0,
        ge=0,
        le=65535,
        description="Port of a worker's /metrics; 0 takes a free one and logs it.",
    )
    worker_metrics_host: str = Field(
        alias="SSPP_WORKER_METRICS_HOST",
        default="127.0.0.1",
        description="Address of a worker's /metrics; 0.0.0.0 lets Prometheus scrape it from elsewhere.",
    )

    disk_paths: str = Field(
        alias="SSPP_DISK_PATHS",
        default="",
        description="Folders (a list with commas) on the disks whose free space maintenance workers show as metrics:"
        " those of the stores and of the backups, where they are within reach.",
    )

    @property
    def cache_or_default_url(self) -> str:
        """CACHE_URL, or what it is by default."""
        if self.cache_url is not None:
            return self.cache_url.get_secret_value()
        parts = urlsplit(self.redis_url.get_secret_value())
        # The path of a Unix socket's URL is the socket's. Nothing in the cache has a name that is used elsewhere.
        return urlunsplit(parts if parts.scheme == "unix" else parts._replace(path="/1"))

    def masked(self) -> dict[str, object]:
        """All settings by environment name, with passwords replaced: safe to log."""
        shown: dict[str, object] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            shown[str(field.alias)] = (
                mask_password(value.get_secret_value()) if isinstance(value, SecretStr) else value
            )
        return shown


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the settings from the environment, once per process.

    Raises:
        SettingsError: a required variable is missing or a value is out of range; names each of them.
    """
    try:
        return Settings()  # type: ignore[call-arg]  # pydantic-settings fills them from the environment
    except ValidationError as error:
        problems = "; ".join(
            f"{problem['loc'][0] if problem['loc'] else 'settings'}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(problems) from None
