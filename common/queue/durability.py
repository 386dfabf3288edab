"""Whether Redis is set up to keep what it acknowledged: with AOF, and without evicting anything."""

from collections.abc import Mapping
from typing import Any, Literal

import structlog
from redis import Redis
from redis.exceptions import ResponseError

from common.errors import SettingsError
from common.redis import translated_errors

INFO_SECTIONS = ("memory", "persistence")
"""The sections of INFO that `endangers_events` looks at. INFO is there where CONFIG is forbidden."""

log = structlog.get_logger(__name__)


def endangers_events(info: Mapping[str, Any]) -> str | None:
    """Why a Redis must not hold acknowledged events, and the cure; None if it may.

    Args:
        info: what it answers to INFO, at least `INFO_SECTIONS`.
    """
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return (
            f"Redis would evict acknowledged events when its memory is full (maxmemory-policy {policy});"
            " set maxmemory-policy noeviction"
        )
    if not int(info.get("aof_enabled", 1)):
        return (
            "Redis would forget acknowledged events when it restarts (AOF is off);"
            " set appendonly yes and appendfsync always"
        )
    return None


def check_durability(client: Redis, environment: Literal["production", "development"]) -> None:
    """Ask Redis how it is set up. What it cannot be asked or could be better is logged as a warning.

    Raises:
        SettingsError: it endangers acknowledged events, and this is production.
        QueueUnavailableError: Redis is away.
    """
    with translated_errors():
        danger = endangers_events(client.info(*INFO_SECTIONS))
        if danger and environment == "production":
            raise SettingsError(f"{danger}, or SSPP_ENVIRONMENT=development if losing events is fine")
        if danger:
            log.warning("queue_unsafe", detail=danger)
            return
        try:
            fsync = client.config_get("appendfsync").get("appendfsync", "always")
        except ResponseError:  # forbidden: managed services do so
            return
    if fsync != "always":
        log.warning(
            "queue_not_flushed",
            appendfsync=fsync,
            detail="a power cut or a crash of the machine loses the last acknowledged events, about a second of"
            " them with everysec; set appendfsync always",
        )
