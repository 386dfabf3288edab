"""How often PostgreSQL is asked for a key."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from api.access import key_look_up
from api.access.authenticator import Authenticator
from common.tenancy.secrets import new_key

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MANY = 20


class Uses:
    def note(self, *_: object) -> None:
        pass


def test_many_requests_at_once_ask_for_their_key_once_and_one_that_leaves_spoils_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, prefix, digest = new_key()
    asked: list[list[str]] = []

    async def run() -> list[Any]:
        answers = asyncio.Event()

        async def fetch_all(
            _pool: object, _query: str, parameters: dict[str, list[str]]
        ) -> list[dict[str, Any]]:
            asked.append(parameters["prefixes"])
            await answers.wait()
            row = {
                "prefix": prefix,
                "key_id": 1,
                "tenant_id": 7,
                "slug": "acme",
                "key_hash": digest,
                "kind": "secret",
                "scopes": ["read"],
                "revoked": False,
            }
            limits = ("requests_per_second", "events_per_second", "monthly_events", "events_used")
            plan = {"plan": "enterprise", "allowed_origins": []} | dict.fromkeys(limits)
            return [row | plan | {"expires_at": None, "tenant_status": "active"}]

        monkeypatch.setattr(key_look_up, "fetch_all", fetch_all)
        authenticator = Authenticator(cast("Any", None), cast("Any", Uses()), lambda: NOON)
        requests = [asyncio.create_task(authenticator.authenticate(f"Bearer {key}")) for _ in range(MANY)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        requests[0].cancel()
        answers.set()
        return list(await asyncio.gather(*requests, return_exceptions=True))

    first, *others = asyncio.run(run())

    assert asked == [[prefix]]
    assert isinstance(first, asyncio.CancelledError)
    assert [principal.tenant for principal in others] == ["acme"] * (MANY - 1)
