"""The load: clients that behave as sane ones do. What is not acknowledged they send again, under the same ids."""

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
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
        attempt = 0
        while not self._give_up.is_set():
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 10))
            try:
                answer = self._client.post(
                    "/v1/events", content=b"\n".join(bodies), headers={"Content-Type": media}
                )
            except httpx.HTTPError as error:
                self._ledger.retry(type(error).__name__)
            else:
                if answer.status_code == 202 and answer.json()["accepted"] == len(bodies):
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


class Client(threading.Thread):
    """One client of the load: a sender's events in order, about `rate` a second, some of them more than once.

    It waits for each request's acknowledgement before the next. Two clients may be the same sender: then both
    send the same events at about the same time.
    """

    def __init__(
        self, number: int, sender: str, tenant: str, rate: float, courier: Courier, ledger: Ledger
    ) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self._sender, self._rate = sender, rate
        self._courier, self._ledger = courier, ledger
        self._dice = random.Random(number)
        self._finish = threading.Event()
        self._singles = number % 3 == 2
        ledger.tenants[sender] = tenant

    def finish(self) -> None:
        """Ask it to end once what it has begun is acknowledged."""
        self._finish.set()

    def run(self) -> None:
        """Send until asked to finish."""
        done, due = 0, time.monotonic()
        while not self._finish.is_set():
            size = 1 if self._singles and self._dice.random() < 0.9 else self._dice.randint(2, 120)
            numbers = [*range(done, done + size), *self._old_ones(done, size)]
            self._dice.shuffle(numbers)
            self._ledger.begin(self._sender, done + size, len(numbers) - size)
            if not self._courier.deliver(self._sender, numbers):
                break
            done += size
            self._ledger.acknowledge(self._sender, done)
            # After an outage it does not catch up all at once.
            due = max(due, time.monotonic() - 1) + size / self._rate
            self._finish.wait(max(0.0, due - time.monotonic()))
        self._courier.close()

    def _old_ones(self, done: int, size: int) -> list[int]:
        """A few that were acknowledged lately or long ago, and now and then one of this very batch."""
        if not done or self._dice.random() > 0.15:
            return []
        again = [self._dice.randrange(done) for _ in range(max(1, size // 20))]
        again += [self._dice.randrange(max(0, done - 200), done)]
        return again + ([done] if self._dice.random() < 0.3 else [])


class Load:
    """Several clients at once."""

    def __init__(self, url: str, keys: dict[str, str], ledger: Ledger, *, clients: int, rate: float) -> None:
        self._give_up = threading.Event()
        tenants = sorted(keys)
        self._clients = []
        for number in range(clients):
            # The first two are one sender; the others share tenants once these have all been given out.
            sender = f"client-{max(1, number)}"
            tenant = tenants[max(0, number - 1) % len(tenants)]
            courier = Courier(url, keys[tenant], ledger, self._give_up)
            self._clients.append(Client(number, sender, tenant, rate / clients, courier, ledger))

    def start(self) -> None:
        """Let all clients begin."""
        for client in self._clients:
            client.start()

    def finish(self, timeout: float) -> None:
        """Wait until all that was begun is acknowledged, for at most `timeout` seconds, and end the clients."""
        for client in self._clients:
            client.finish()
        deadline = time.monotonic() + timeout
        for client in self._clients:
            client.join(max(0.0, deadline - time.monotonic()))
        self._give_up.set()
        for client in self._clients:
            client.join()
