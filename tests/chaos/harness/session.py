"""One run: load and faults, and how the platform comes back from each; at the end the reckoning."""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from random import Random
from typing import Protocol

from harness.courier import Ledger
from harness.faults import draw
from harness.faults.fault import Fault
from harness.load import Load
from harness.probe import Probe
from harness.reckoning import Reckoning
from harness.report import Outcome, Report
from harness.stack import Stack
from harness.stores import Batches
from harness.throughput import measure_throughput
from harness.waiting import StuckError, wait_for

_TENANTS = ("acme", "globex", "initech")
_ERASING_TENANT = "erasing"
_PROBE_TENANT = "probe"
_THROUGHPUT_TENANT = "throughput"
_FINISH_SECONDS = 120  # for the clients to bring home what they have begun
_WATCH_SECONDS = 300


class Screen(Protocol):
    """Shows how the run goes."""

    def phase(self, what: str) -> None:
        """Something new has begun."""

    def fault(self, outcome: Outcome, acknowledged: int) -> None:
        """A fault is over and recovered from."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. `patience` is how many seconds the platform has to come back from a fault."""

    seed: int
    faults: int
    duration: float
    clients: int
    rate: float
    only: Collection[str]
    throughput_rounds: int
    throughput_events: int
    patience: float = 60.0


class Session:
    """A run of `plan` on `stack`; fills in `report` as it goes, so that it tells something at any point.

    `stopped` is asked often; True ends the faults, and the reckoning begins.
    """

    def __init__(
        self, stack: Stack, plan: Plan, report: Report, screen: Screen, stopped: Callable[[], bool]
    ) -> None:
        self._stack = stack
        self._plan = plan
        self._report = report
        self._screen = screen
        self._stopped = stopped
        self._ledger = Ledger()
        self._watches: list[threading.Thread] = []

    def run(self) -> None:
        """Do it all; what goes wrong is in the report's problems."""
        begun = time.monotonic()
        try:
            self._run()
        finally:
            report, ledger = self._report, self._ledger
            report.duration_seconds = round(time.monotonic() - begun, 1)
            report.events_begun = ledger.begun.total()
            report.events_acknowledged = ledger.total
            report.events_repeated = ledger.repeated
            report.customers_erased = len(ledger.forgotten)
            report.events_erased = ledger.forgotten.total()
            report.requests_retried = dict(ledger.answers.most_common())

    def _run(self) -> None:
        stack, report = self._stack, self._report
        self._screen.phase("starting the stack")
        stack.start([*_TENANTS, _ERASING_TENANT, _PROBE_TENANT, _THROUGHPUT_TENANT])
        report.throughput_before = self._throughput("before")
        load = Load(
            stack.api_url,
            {slug: stack.keys[slug] for slug in (*_TENANTS, _ERASING_TENANT)},
            _ERASING_TENANT,
            self._ledger,
            clients=self._plan.clients,
            rate=self._plan.rate,
        )
        load.start()
        try:
            self._strike()
        finally:
            self._screen.phase("the clients finish")
            load.finish(_FINISH_SECONDS)
        report.interrupted = self._stopped()
        reckoning = Reckoning(stack, report, self._screen.phase)
        reckoning.settle()
        for watch in self._watches:
            watch.join()
        if not self._stopped():
            report.throughput_after = self._throughput("after")
            reckoning.settle()
        reckoning.ask_clients(self._ledger)
        reckoning.compare_stores(self._ledger)
        reckoning.compare_index()

    def _strike(self) -> None:
        plan = self._plan
        probe = Probe(
            self._stack.api_url,
            self._stack.keys[_PROBE_TENANT],
            _PROBE_TENANT,
            self._ledger,
            patience=plan.patience,
        )
        begun = time.monotonic()
        drawn = draw(plan.seed, plan.only)
        for number, (fault, dice) in enumerate(itertools.islice(drawn, plan.faults), 1):
            if self._stopped() or time.monotonic() - begun > plan.duration:
                break
            self._screen.phase(fault.name)
            outcome = Outcome(number, fault.name, round(time.monotonic() - begun, 1))
            self._report.outcomes.append(outcome)
            try:
                self._strike_once(fault, dice, probe, outcome)
            except StuckError as error:
                outcome.problem = str(error)
            if outcome.problem:
                self._report.problems.append(f"fault {number}, {fault.name}: {outcome.problem}")
            self._screen.fault(outcome, self._ledger.total)
        probe.close()

    def _strike_once(self, fault: Fault, dice: Random, probe: Probe, outcome: Outcome) -> None:
        time.sleep(dice.uniform(0, 0.5))
        begun = time.monotonic()
        injury = fault.inflict(self._stack, dice)
        over = time.monotonic()
        outcome.parameters, outcome.took = injury.parameters, round(over - begun, 3)
        if injury.batches:
            self._watch(injury.batches, outcome, over)
        taken = self._stack.stores.taken_entries()
        outcome.entries_taken = len(taken)
        recovery = probe.measure(since=over)
        outcome.accepted, outcome.stored = recovery.accepted, recovery.stored
        if recovery.stored is None:
            what = "stored" if recovery.accepted is not None else "accepted"
            outcome.problem = f"a fresh event was not {what} within {self._plan.patience:.0f} seconds"
            return
        wait_for(
            lambda: not self._stack.stores.unfinished(taken),
            self._plan.patience,
            "what had been taken to be finished",
            pause=0.1,
        )
        outcome.finished = round(time.monotonic() - over, 3)

    def _watch(self, batches: Batches, outcome: Outcome, since: float) -> None:
        """Note, in a thread, when these outbox rows are indexed; there may be much before them."""

        def watch() -> None:
            with contextlib.suppress(StuckError):  # told by what is left at the end
                wait_for(
                    lambda: not batches & self._stack.stores.pending_batches(),
                    _WATCH_SECONDS,
                    "the rows",
                    pause=0.2,
                )
                outcome.indexed = round(time.monotonic() - since, 3)

        thread = threading.Thread(target=watch, name="watch", daemon=True)
        thread.start()
        self._watches.append(thread)

    def _throughput(self, label: str) -> float | None:
        if not self._plan.throughput_rounds:
            return None
        self._screen.phase(f"throughput {label} the faults")
        try:
            return measure_throughput(
                self._stack,
                _THROUGHPUT_TENANT,
                self._ledger,
                f"throughput-{label}",
                rounds=self._plan.throughput_rounds,
                events=self._plan.throughput_events,
            )
        except StuckError as error:
            self._report.problems.append(f"throughput {label} the faults: {error}")
            return None
