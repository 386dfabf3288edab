"""Customers that are erased under load: what came before the request must go, what comes after it must stay."""

import random
import threading
from itertools import count

from harness.courier import Courier, Ledger
from harness.events import FORGOTTEN

_PAUSE_SECONDS = 1.0
_MOST_BEFORE, _MOST_AFTER = 60, 20


class Eraser(threading.Thread):
    """Sends events of one customer after the other, and has each of them erased in between, some twice.

    Each customer is a sender of its own, whose name is the customer's. It waits for each acknowledgement, so that an
    event is either before a request or after it.

    Args:
        tenant: the slug of the tenant whose customers they are.
        courier: with a key of its administrator.
        ledger: where it is noted what is sent and what is to be gone.
    """

    def __init__(self, tenant: str, courier: Courier, ledger: Ledger) -> None:
        super().__init__(name="eraser", daemon=True)
        self._tenant = tenant
        self._courier = courier
        self._ledger = ledger
        self._dice = random.Random(tenant)
        self._finish = threading.Event()

    def finish(self) -> None:
        """Ask it to end once what it has begun is acknowledged."""
        self._finish.set()

    def run(self) -> None:
        """Work until asked to finish."""
        for number in count():
            customer = f"{FORGOTTEN}{number}"
            self._ledger.tenants[customer] = self._tenant
            if not self._live_and_go(customer) or self._finish.wait(_PAUSE_SECONDS):
                break
        self._courier.close()

    def _live_and_go(self, customer: str) -> bool:
        """A customer's life; False if told to give up amid it."""
        sent = 0
        for _ in range(self._dice.randint(1, 2)):
            sent = self._send(customer, sent, self._dice.randint(1, _MOST_BEFORE))
            if not sent or not self._courier.erase(customer):
                return False
            self._ledger.forget(customer, sent)
        return bool(self._send(customer, sent, self._dice.randint(0, _MOST_AFTER)))

    def _send(self, customer: str, first: int, size: int) -> int:
        """How many events the customer has then; 0 if told to give up."""
        self._ledger.begin(customer, first + size)
        if size and not self._courier.deliver(customer, range(first, first + size)):
            return 0
        self._ledger.acknowledge(customer, first + size)
        return first + size
