"""The reckoning at the end of a run: everything comes to rest, and then it is counted."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from harness.courier import Ledger
from harness.events import events
from harness.index import IndexDifference, compare_index
from harness.oracle import Expectation, examine
from harness.report import Report
from harness.stack import Stack
from harness.waiting import StuckError, wait_for

_DRAIN_SECONDS = 240
# For as long as the outbox gets shorter, it may take what it takes: the embedded search server is slow to write
# again what it has already.
_INDEX_IDLE_SECONDS = 120
_HEAL_SECONDS = 60
_ERASE_IDLE_SECONDS = 120
_VERIFY_SECONDS = 600


class Reckoning:
    """Compares what the stores of `stack` hold with what was sent, and enters it into `report`.

    `phase` is told what is under way.
    """

    def __init__(self, stack: Stack, report: Report, phase: Callable[[str], None]) -> None:
        self._stack = stack
        self._report = report
        self._phase = phase

    def settle(self) -> None:
        """Wait until no work is left; a problem if that does not happen."""
        stores = self._stack.stores
        self._phase("the backlog drains")
        try:
            wait_for(lambda: not stores.queued_entries(), _DRAIN_SECONDS, "the lanes to be empty")
            while left := len(stores.pending_batches()):
                wait_for(
                    lambda now=left: len(stores.pending_batches()) < now,
                    _INDEX_IDLE_SECONDS,
                    f"{left} outbox rows to become fewer",
                    pause=0.2,
                )
            while left := stores.erasures_in_work():
                wait_for(
                    lambda now=left: stores.erasures_in_work() < now,
                    _ERASE_IDLE_SECONDS,
                    f"{left} erasures to become fewer",
                    pause=0.2,
                )
        except StuckError as error:
            self._report.problems.append(str(error))

    def ask_clients(self, ledger: Ledger) -> None:
        """Everything that was begun is acknowledged, and nobody was told what nobody should be told."""
        if unanswered := ledger.begun.total() - ledger.total:
            self._report.problems.append(f"{unanswered} events were never acknowledged")
        self._report.problems += [f"a client was told {surprise}" for surprise in ledger.surprises]

    def compare_stores(self, ledger: Ledger) -> None:
        """Conservation: what the clients know is what PostgreSQL holds, and nothing is left in Redis."""
        self._phase("comparing what is stored")
        with self._stack.stores.database() as session, self._stack.stores.redis() as redis:
            found = examine(session, redis, self._expectation(ledger))
        self._report.conservation = found
        self._report.problems += found.problems()

    def compare_index(self) -> None:
        """The index holds what PostgreSQL holds: at once, after some time, or after ``sspp verify --repair``."""
        index = self._report.index
        self._phase("comparing the index")
        begun = time.monotonic()
        index.at_rest = found = self._index_difference()
        index.healed_by = "nothing was to heal"
        if found.total:
            self._phase("the index heals")
            while found.total and time.monotonic() - begun < _HEAL_SECONDS:
                time.sleep(1)
                found = self._index_difference()
            index.after_waiting = found
            index.healed_by = "itself"
        if found.total:
            self._phase("sspp verify --repair")
            told = self._verify()
            index.after_verify = found = self._index_difference()
            index.healed_by = "sspp verify --repair"
            if found.total:
                index.healed_by = "nothing"
                self._report.problems.append(
                    f"the index differs from PostgreSQL: {asdict(found)}; sspp verify --repair said: {told}"
                )
        index.seconds = round(time.monotonic() - begun, 1)

    def _expectation(self, ledger: Ledger) -> Expectation:
        expected = Expectation()
        # What was begun and never acknowledged may be stored or not; that it was not is a problem of its own.
        for sender, count in ledger.begun.items():
            tenant_id = self._stack.tenant_ids[ledger.tenants[sender]]
            for number, event in enumerate(events(sender, count)):
                if number < ledger.forgotten[sender]:
                    expected.add_erased(tenant_id, event)
                else:
                    expected.add(tenant_id, event)
        return expected

    def _index_difference(self) -> IndexDifference:
        with self._stack.stores.database() as session:
            return compare_index(session, self._stack.search_url)

    def _verify(self) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("sspp")), "verify", "--repair"],
            env=self._stack.environment("sspp"),
            capture_output=True,
            text=True,
            timeout=_VERIFY_SECONDS,
            check=False,
        )
        return f"{done.stdout}{done.stderr}"[-2000:]
