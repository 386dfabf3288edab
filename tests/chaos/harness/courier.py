"""How a sane client gets what it has to the API: what is not acknowledged it sends again, under the same ids."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from harness.events import event

_TIMEOUT_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_LONGEST_RETRY_AFTER = 5.0
# What a client may be told: taken, or come back later.
_EXPECTED = {202, 429, 503}


@dataclass
class Ledger:
    """What the clients know, all of them together. Thread-safe."""

    begun: Counter[str] = field(default_factory=Counter)
    """By sender: how many events it has begun to send, numbers 0 and up."""
    acknowledged: Counter[str] = field(default_factory=Counter)
    """By sender: how many of these are acknowledged, from the first one on without a gap."""
    forgotten: Counter[str] = field(default_factory=Counter)
    """By sender: how many of these, from the first one on, are to be gone, as their customer was erased after them."""
    tenants: dict[str, str] = field(default_factory=dict)
    """Whose events a sender's are: the tenant's slug."""
    answers: Counter[str] = field(default_factory=Counter)
    """Answers other than 202, and failures, by status or kind of error."""
    repeated: int = 0
    """Events sent again although they had been acknowledged, to see whether they are stored twice."""
    surprises: list[str] = field(default_factory=list)
    """Answers that a client should never get."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, sender: str, count: int, repeated: int = 0) -> None:
        """Note that `count` events of `sender` are on their way, `repeated` older ones with them."""
        with self._lock:
            self.begun[sender] = max(self.begun[sender], count)
            self.repeated += repeated

    def acknowledge(self, sender: str, count: int) -> None:
        """Note that the first `count` events of `sender` are acknowledged."""
        with self._lock:
            self.acknowledged[sender] = max(self.acknowledged[sender], count)

    def forget(self, sender: str, count: int) -> None:
        """Note that the first `count` events of `sender` are to be gone."""
        with self._lock:
            self.forgotten[sender] = count

    def retry(self, reason: str, surprise: str | None = None) -> None:
        """Note an attempt that has to be repeated."""
        with self._lock:
            self.answers[reason] += 1
            if surprise and len(self.surprises) < 20:
                self.surprises.append(surprise)

    @property
    def total(self) -> int:
        """Events acknowledged."""
        with self._lock:
            return self.acknowledged.total()


class Courier:
    """Gets events to the API: one connection, as many attempts as it takes."""

    def __init__(self, url: str, key: str, ledger: Ledger, give_up: threading.Event) -> None:
        headers = {"Authorization": f"Bearer {key}", "Prefer": "return=minimal"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS)
        self._ledger = ledger
        self._give_up = give_up

    def deliver(self, sender: str, numbers: Sequence[int]) -> bool:
        """Send events until they are acknowledged; False if told to give up before."""
        bodies = [event(sender, number).body() for number in numbers]
        single = len(bodies) == 1
        media = "application/json" if single else "application/x-ndjson"
        return self._insist(
            lambda: self._client.post(
                "/v1/events", content=b"\n".join(bodies), headers={"Content-Type": media}
            ),
            lambda answer: bool(answer.json()["accepted"] == len(bodies)),
        )

    def erase(self, customer_id: str) -> bool:
        """Have a customer erased; False if told to give up before that is acknowledged."""
        return self._insist(lambda: self._client.delete(f"/v1/customers/{customer_id}"), lambda _: True)

    def _insist(
        self, ask: Callable[[], httpx.Response], is_complete: Callable[[httpx.Response], bool]
    ) -> bool:
        """Ask until it is accepted, completely; False if told to give up before."""
        attempt = 0
        while not self._give_up.is_set():
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))
            try:
                answer = ask()
            except httpx.HTTPError as error:
                self._ledger.retry(type(error).__name__)
            else:
                if answer.status_code == 202 and is_complete(answer):
                    return True
                surprise = None
                if answer.status_code not in _EXPECTED or answer.status_code == 202:
                    surprise = f"{answer.status_code}: {answer.text[:500]}"
                self._ledger.retry(str(answer.status_code), surprise)
                asked = answer.headers.get("Retry-After", "")
                if asked.isdecimal():
                    pause = max(pause, min(float(asked), _LONGEST_RETRY_AFTER))
            attempt += 1
            self._give_up.wait(pause * random.uniform(0.75, 1.25))
        return False

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
