"""How often PostgreSQL is asked for a key."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from api import auth
from api.auth import Authenticator
from common.tenancy.secrets import new_key

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MANY = 20


class Uses:
    def note(self, *_: object) -> None:
        pass


def test_many_requests_at_once_ask_for_their_key_once_and_one_that_leaves_spoils_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, _, digest = new_key()
    asked: list[str] = []

    async def run() -> list[Any]:
        answers = asyncio.Event()

        async def fetch_one(_database: object, _query: str, parameters: dict[str, str]) -> dict[str, Any]:
            asked.append(parameters["prefix"])
            await answers.wait()
            row = {"key_id": 1, "tenant_id": 7, "slug": "acme", "key_hash": digest, "scopes": ["read"]}
            limits = ("requests_per_second", "events_per_second", "monthly_events", "events_used")
            plan = {"plan": "enterprise", "allowed_origins": []} | dict.fromkeys(limits)
            return row | plan | {"expires_at": None, "tenant_status": "active"}

        monkeypatch.setattr(auth, "fetch_one", fetch_one)
        authenticator = Authenticator(cast("Any", None), cast("Any", Uses()), lambda: NOON)
        requests = [asyncio.create_task(authenticator.authenticate(f"Bearer {key}")) for _ in range(MANY)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        requests[0].cancel()
        answers.set()
        return list(await asyncio.gather(*requests, return_exceptions=True))

    first, *others = asyncio.run(run())

    assert len(asked) == 1
    assert isinstance(first, asyncio.CancelledError)
    assert [principal.tenant for principal in others] == ["acme"] * (MANY - 1)
