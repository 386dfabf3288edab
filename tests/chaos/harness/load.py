"""The load: clients that send events without end, and one that has customers erased."""

import random
import threading
import time

from harness.courier import Courier, Ledger
from harness.erasing import Eraser


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
    """Several clients at once, and an eraser.

    Args:
        url: the API's.
        keys: API keys by tenant slug.
        erasing: the slug of the tenant among them whose customers are erased.
        ledger: of all of them.
        clients: how many; none of them sends for `erasing`.
        rate: events a second that all of these aim at together.
    """

    def __init__(
        self, url: str, keys: dict[str, str], erasing: str, ledger: Ledger, *, clients: int, rate: float
    ) -> None:
        self._give_up = threading.Event()
        tenants = sorted(keys.keys() - {erasing})
        self._clients: list[Client | Eraser] = [
            Eraser(erasing, Courier(url, keys[erasing], ledger, self._give_up), ledger)
        ]
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
