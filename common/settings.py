"""Every setting of every process, read from the environment and nowhere else (12-factor)."""

from functools import lru_cache
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.errors import SettingsError


class Settings(BaseSettings):
    """The effective settings of one process; immutable once read.

    Names without a prefix are the conventional ones; everything of our own is ``SSPP_*``. URLs are secrets,
    as they may carry passwords: `masked` is what may be logged.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=True, populate_by_name=True)

    database_url: SecretStr = Field(alias="DATABASE_URL", description="PostgreSQL, as a libpq URL.")
    redis_url: SecretStr = Field(
        alias="REDIS_URL",
        description="Redis or Valkey for the event lanes and RQ. Needs AOF and maxmemory-policy noeviction.",
    )
    cache_url: SecretStr | None = Field(
        alias="CACHE_URL",
        default=None,
        description="Redis for what may be forgotten; nothing uses it yet. Default: database 1 of REDIS_URL's server.",
    )
    elasticsearch_url: SecretStr = Field(
        alias="ELASTICSEARCH_URL", description="Elasticsearch; user and password go into the URL."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        alias="LOG_LEVEL", default="INFO", description="The least severe level that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        alias="LOG_FORMAT", default="json", description="One JSON object a line, or coloured text for people."
    )
    port: int = Field(alias="PORT", default=8000, ge=0, le=65535, description="The API's TCP port.")
    host: str = Field(
        alias="SSPP_HOST",
        default="127.0.0.1",
        description="The address that the API listens on; 0.0.0.0 for all, as in a container.",
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

    batch_events: int = Field(
        alias="SSPP_BATCH_EVENTS",
        default=2000,
        ge=1,
        description="Events that a drain aims to process in one transaction or bulk request.",
    )
    drain_budget_seconds: float = Field(
        alias="SSPP_DRAIN_BUDGET_SECONDS",
        default=30.0,
        gt=0,
        description="How long one drain works before it hands over to the next RQ job.",
    )
    drain_linger_seconds: float = Field(
        alias="SSPP_DRAIN_LINGER_SECONDS",
        default=2.0,
        ge=0,
        description="How long an idle drain waits for more work before it ends.",
    )
    liveness_seconds: float = Field(
        alias="SSPP_LIVENESS_SECONDS",
        default=5.0,
        gt=0,
        description="How long a silent drain or worker counts as alive; its work is taken over after that.",
    )

    retention_months: int = Field(
        alias="SSPP_RETENTION_MONTHS",
        default=0,
        ge=0,
        description="Full months of events and signals to keep, by received_at; 0 keeps everything.",
    )
    partitions_ahead: int = Field(
        alias="SSPP_PARTITIONS_AHEAD",
        default=3,
        ge=1,
        description="How many months ahead the partitions exist.",
    )
    outbox_keep_seconds: int = Field(
        alias="SSPP_OUTBOX_KEEP_SECONDS",
        default=900,
        ge=0,
        description="How long indexed outbox rows stay, so that they can be sent again.",
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

    def masked(self) -> dict[str, object]:
        """All settings by environment name, with passwords replaced: safe to log."""
        shown: dict[str, object] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            shown[str(field.alias)] = (
                mask_password(value.get_secret_value()) if isinstance(value, SecretStr) else value
            )
        return shown


def mask_password(url: str) -> str:
    """`url` with its password, if any, replaced by ``***``."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{host}"))


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
