"""Redis clients, and the translation of their errors at the edge."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.asyncio
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from common.errors import QueueUnavailableError
from common.tls import tls_fault

# What Redis answers when it is there but cannot take a write safely; redis-py knows no classes for these.
_REFUSALS = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "LOADING", "READONLY", "OOM", "TRYAGAIN", "CLUSTERDOWN")

_AWAY = (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, OSError)
_REFUSING = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterDownError,
)


def _options(timeout_seconds: float) -> dict[str, Any]:
    return {
        "protocol": 2,
        "socket_connect_timeout": 2.0,
        "socket_timeout": timeout_seconds,
        "socket_keepalive": True,
        "health_check_interval": 15,
    }


def open_redis(url: str, *, timeout_seconds: float = 10.0) -> "redis.Redis":
    """A synchronous client; it connects on first use and answers bytes.

    It never repeats a command by itself: whether a command may run twice is for its caller to know.
    """
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_options(timeout_seconds))


def open_async_redis(url: str, *, timeout_seconds: float = 10.0) -> "redis.asyncio.Redis":
    """An asynchronous client for the API; like `open_redis` it never repeats a command by itself."""
    return redis.asyncio.Redis.from_url(
        url, retry=redis.asyncio.retry.Retry(NoBackoff(), 0), **_options(timeout_seconds)
    )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise redis-py's passing failures as `QueueUnavailableError`; let all others through."""
    try:
        yield
    except _REFUSING as error:
        raise QueueUnavailableError(f"Redis refuses writes for now: {error}") from error
    except _AWAY as error:
        if fault := tls_fault(error):
            raise QueueUnavailableError(f"Redis's certificate is not accepted: {fault}") from error
        raise QueueUnavailableError("Redis cannot be reached; try again shortly") from error
    except redis.exceptions.ResponseError as error:
        if not str(error).startswith(_REFUSALS):
            raise
        raise QueueUnavailableError(f"Redis refuses writes for now: {error}") from error
