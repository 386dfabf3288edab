"""What a tenant's plan allows: requests and events a second, and new events a month.

Rates are token buckets in Redis, two for each tenant, shared by all API processes. They are refilled evenly, and hold
a second's worth, the one of events at least as many as a request may have, so that each request gets in some time. The
library counts by GCRA, which is a token bucket that needs no timer and has no steps.

The answers tell where a limited tenant stands, by the fields of draft-ietf-httpapi-ratelimit-headers-11; `q` is what a
bucket holds, and `w` the seconds in which it fills.
"""

import math
from collections.abc import MutableMapping
from datetime import datetime, timedelta
from typing import Any, Literal

from redis.asyncio import Redis

from api.access.auth import Principal
from api.access.token_lease import LeaseStore, TokenLease
from api.http.errors import ShedError
from api.http.responses import ANSWER_FIELDS
from common.clock import Clock
from common.metrics import Metrics

_Kind = Literal["requests", "events"]


class RateLimits:
    """Knows what each tenant may still do. Tenants without limits cost nothing.

    While Redis does not answer, requests are not limited: reading goes on, and sending fails for want of Redis anyway.

    Args:
        client: Redis for what may be forgotten; buckets that are gone are full.
        metrics: where requests that are turned away are counted.
        clock: what time it is; a month ends by it.
        max_request_events: the most events that one request can have.
    """

    def __init__(self, client: Redis, metrics: Metrics, clock: Clock, *, max_request_events: int) -> None:
        self._store = LeaseStore(client)
        self._metrics = metrics
        self._clock = clock
        self._max_request_events = max_request_events
        self._leases: dict[tuple[_Kind, int], TokenLease] = {}

    async def admit_request(self, scope: MutableMapping[str, Any], principal: Principal) -> None:
        """Count one request of the tenant.

        Raises:
            ShedError: 429 `rate_limited`.
        """
        rate = principal.limits.requests_per_second
        if rate is not None:
            await self._take(scope, self._lease("requests", principal.tenant_id, rate, rate), "requests", 1)

    async def admit_events(self, scope: MutableMapping[str, Any], principal: Principal, events: int) -> None:
        """Count `events` that the tenant sends, in one request; those that will be refused too.

        Raises:
            ShedError: 429 `rate_limited` or `quota_exceeded`.
        """
        self.check_quota(principal)
        rate = principal.limits.events_per_second
        if rate is not None:
            capacity = max(rate, self._max_request_events)
            lease = self._lease("events", principal.tenant_id, rate, capacity)
            await self._take(scope, lease, "events", events)

    def check_quota(self, principal: Principal) -> None:
        """Return while the tenant has events left this month; what it has used is known a second late.

        Raises:
            ShedError: 429 `quota_exceeded`; `Retry-After` is when the month ends.
        """
        most = principal.limits.monthly_events
        if most is not None and principal.events_used is not None and principal.events_used >= most:
            detail = (
                f"the plan's {most:,} events of this month are used up; the next month begins with new ones"
            )
            raise self._refusal("quota_exceeded", detail, _seconds_left_of_month(self._clock()))

    def _lease(self, kind: _Kind, tenant_id: int, rate: int, capacity: int) -> TokenLease:
        lease = self._leases.get((kind, tenant_id))
        if lease is None or (lease.rate, lease.capacity) != (rate, capacity):  # or the plan has changed
            # A bucket of its own for each rate: what an old one lacks would take as long to come as at the old rate.
            key = f"{kind}:{tenant_id}:{rate}:{capacity}"
            lease = TokenLease(self._store, key, rate=rate, capacity=capacity)
            self._leases[kind, tenant_id] = lease
        return lease

    async def _take(
        self, scope: MutableMapping[str, Any], lease: TokenLease, kind: _Kind, count: int
    ) -> None:
        taken = await lease.take(count)
        left = lease.left()
        full_in = math.ceil((lease.capacity - left) / lease.rate)
        scope[ANSWER_FIELDS] += [
            (b"ratelimit-policy", b'"%s";q=%d;w=%d' % (kind.encode(), lease.capacity, lease.fill_seconds)),
            (b"ratelimit", b'"%s";r=%d;t=%d' % (kind.encode(), left, full_in)),
        ]
        if not taken:
            detail = f"the plan allows {lease.rate:,} {kind} a second; send the same again a little later"
            raise self._refusal("rate_limited", detail, max(1, math.ceil((count - left) / lease.rate)))

    def _refusal(self, code: str, detail: str, retry_after: int) -> ShedError:
        self._metrics.count("sspp_requests_shed_total", code=code)
        return ShedError(429, code, detail, retry_after=retry_after)


def _seconds_left_of_month(now: datetime) -> int:
    next_month = (now.replace(day=1) + timedelta(days=32)).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return math.ceil((next_month - now).total_seconds())
