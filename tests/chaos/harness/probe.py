"""The oracle of liveness: how soon a fresh event is accepted, and stored."""

import time
from dataclasses import dataclass

import httpx

from harness.courier import Ledger
from harness.events import event

SENDER = "probe"
_PAUSE_SECONDS = 0.05
_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the end of a fault until a fresh event was accepted and stored; None if not in time."""

    accepted: float | None = None
    stored: float | None = None


class Probe:
    """Sends single events of a tenant of its own, and looks them up as any client would."""

    def __init__(self, url: str, key: str, tenant: str, ledger: Ledger, *, patience: float) -> None:
        self._client = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=_TIMEOUT_SECONDS
        )
        self._ledger = ledger
        self._patience = patience
        self._number = 0
        ledger.tenants[SENDER] = tenant

    def measure(self, *, since: float) -> Recovery:
        """Send a fresh event, as often as it takes, and wait until it is stored: `patience` seconds in all.

        Times count from the monotonic instant `since`.
        """
        deadline = time.monotonic() + self._patience
        fresh = event(SENDER, self._number)
        self._number += 1
        self._ledger.begin(SENDER, self._number)
        while not self._accepted(fresh.body()):
            if time.monotonic() > deadline:
                self._number -= 1  # next time it is still the same
                return Recovery()
            time.sleep(_PAUSE_SECONDS)
        self._ledger.acknowledge(SENDER, self._number)
        accepted = round(time.monotonic() - since, 3)
        while not self._stored(fresh.event_id):
            if time.monotonic() > deadline:
                return Recovery(accepted)
            time.sleep(_PAUSE_SECONDS)
        return Recovery(accepted, round(time.monotonic() - since, 3))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _accepted(self, body: bytes) -> bool:
        try:
            answer = self._client.post(
                "/v1/events", content=body, headers={"Content-Type": "application/json"}
            )
        except httpx.HTTPError:
            return False
        return answer.status_code == 202

    def _stored(self, event_id: str) -> bool:
        try:
            return self._client.get(f"/v1/events/{event_id}").status_code == 200
        except httpx.HTTPError:
            return False
