"""Tokens of a bucket in Redis, taken some at a time: a request must not cost a round trip."""

import asyncio
import time

import structlog
from redis.asyncio import Redis
from throttled.asyncio.rate_limiter import RateLimiterRegistry, RateLimitResult, per_sec
from throttled.asyncio.store import RedisStore, RedisStoreBackend
from throttled.exceptions import StoreUnavailableError

_LEASE_SECONDS = 0.1
_PATIENCE_SECONDS = 0.5
_PAUSE_SECONDS = 1.0

log = structlog.get_logger(__name__)


class _Backend(RedisStoreBackend):
    """Has the library work with a client of ours, with its time limits and TLS."""

    def __init__(self, client: Redis) -> None:
        super().__init__()
        self._client = client  # type: ignore[assignment]  # the library's protocol of it is narrower


class LeaseStore(RedisStore):
    """Where buckets are."""

    def __init__(self, client: Redis) -> None:
        super().__init__()
        self._backend = _Backend(client)
        self.away_until = 0.0
        """Until when nobody asks, by `time.monotonic`, since Redis did not answer; 0 if it did."""


class TokenLease:
    """This process's tokens of one bucket, a tenth of a second's worth at a time.

    They stay until they are used. So all processes together admit no more than the bucket held and was refilled with.

    Args:
        store: where the bucket is.
        key: its name.
        rate: tokens with which it is refilled each second.
        capacity: tokens that it holds.
    """

    def __init__(self, store: LeaseStore, key: str, *, rate: int, capacity: int) -> None:
        self._store = store
        self._key = key
        self.rate = rate
        self.capacity = capacity
        limiter = RateLimiterRegistry.get("gcra")
        self._bucket = limiter(per_sec(rate, capacity), store, key_prefix="sspp:rates")
        self._tokens = 0
        self._seen = capacity
        self._seen_at = time.monotonic()
        self._asking = asyncio.Lock()

    @property
    def fill_seconds(self) -> int:
        """How long the empty bucket takes to be full."""
        return -(-self.capacity // self.rate)

    def left(self) -> int:
        """How many tokens there are at most: those here, and those that the bucket can have by now."""
        refilled = self._seen + self.rate * (time.monotonic() - self._seen_at)
        return min(self.capacity, self._tokens + int(refilled))

    async def take(self, count: int) -> bool:
        """Take `count` tokens, at most `capacity`; False if there are not so many, and none is taken.

        Who is refused costs nothing either: until the bucket can have enough, nobody asks.
        """
        if self._tokens < count:
            async with self._asking:  # the others of the tenant wait for the same answer
                if self._tokens < count and not await self._fetch(count):
                    return False
        self._tokens -= count
        return True

    async def _fetch(self, count: int) -> bool:
        """Get so many tokens that there are `count`; a lease's worth if the bucket has that."""
        missing = count - self._tokens
        if time.monotonic() < self._store.away_until:
            self._tokens = count
            return True
        if self.left() < count:
            return False
        wanted = max(missing, int(self.rate * _LEASE_SECONDS))
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                found = await self._ask(wanted)
                if found.limited and missing <= found.state.remaining and missing < wanted:
                    wanted = missing
                    found = await self._ask(wanted)
        except (StoreUnavailableError, TimeoutError, OSError) as error:
            if not self._store.away_until:  # once an outage, not once a second
                log.warning("rates_not_limited", detail=str(error) or "no answer in time")
            self._store.away_until = time.monotonic() + _PAUSE_SECONDS
            self._tokens = count
            return True
        self._store.away_until = 0.0
        if found.limited:
            return False
        self._tokens += wanted
        return True

    async def _ask(self, tokens: int) -> RateLimitResult:
        found = await self._bucket.limit(self._key, tokens)
        self._seen, self._seen_at = found.state.remaining, time.monotonic()
        return found
