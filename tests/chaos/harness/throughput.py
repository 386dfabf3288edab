"""How fast the platform stores what is poured into it."""

import threading
import time
from statistics import median

from harness.courier import Courier, Ledger
from harness.stack import Stack
from harness.waiting import wait_for

_SENDERS = 4
_REQUEST_EVENTS = 500
_DRAIN_SECONDS = 120


def measure_throughput(
    stack: Stack, tenant: str, ledger: Ledger, label: str, *, rounds: int, events: int
) -> float:
    """Events a second from the first request until all are stored; the median of `rounds` with `events` each.

    The index waits meanwhile: the embedded search server gets slower as it fills, and shares our processors.
    """
    rates = []
    stores = stack.stores
    for number in range(rounds):
        wait_for(lambda: not stores.queued_entries() and not stores.pending_batches(), _DRAIN_SECONDS, "rest")
        with stack.search_proxy.hanging(bulks_only=True):
            begun = time.monotonic()
            _pour(stack, tenant, ledger, f"{label}-{number}", events)
            wait_for(lambda: not stores.queued_entries(), _DRAIN_SECONDS, "the queue to be empty", pause=0.01)
            rates.append(events / (time.monotonic() - begun))
    return median(rates)


def _pour(stack: Stack, tenant: str, ledger: Ledger, label: str, events: int) -> None:
    never = threading.Event()

    def send(sender: str) -> None:
        ledger.tenants[sender] = tenant
        courier = Courier(stack.api_url, stack.keys[tenant], ledger, never)
        for first in range(0, events // _SENDERS, _REQUEST_EVENTS):
            numbers = range(first, min(first + _REQUEST_EVENTS, events // _SENDERS))
            ledger.begin(sender, numbers.stop)
            courier.deliver(sender, numbers)
            ledger.acknowledge(sender, numbers.stop)
        courier.close()

    threads = [threading.Thread(target=send, args=(f"{label}-{number}",)) for number in range(_SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
