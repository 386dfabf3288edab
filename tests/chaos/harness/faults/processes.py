"""Faults of processes, at whatever moment: killed, frozen, restarted."""

import os
import signal
import time
from random import Random

from harness.faults.fault import Fault, Injury
from harness.stack import FLEET, INDEX_WORKERS, INGEST_WORKERS, MAINTENANCE_WORKER, SERVERS, WORKERS, Stack

_STOP_SECONDS = 60  # what a supervisor's grace may be, and its longest pause before a restart


def kill_api(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL the API."""
    stack.kill("api")
    return Injury()


def kill_ingest_worker(stack: Stack, dice: Random) -> Injury:
    """SIGKILL an ingest worker at any moment."""
    name, seconds = dice.choice(INGEST_WORKERS), dice.uniform(0, 0.5)
    time.sleep(seconds)
    stack.kill(name)
    return Injury({"process": name, "after_seconds": round(seconds, 3)})


def kill_index_worker(stack: Stack, dice: Random) -> Injury:
    """SIGKILL an index worker at any moment."""
    name, seconds = dice.choice(INDEX_WORKERS), dice.uniform(0, 0.5)
    time.sleep(seconds)
    batches = stack.stores.batches_in_work()
    stack.kill(name)
    return Injury({"process": name, "after_seconds": round(seconds, 3)}, batches)


def kill_scheduler(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL the maintenance worker, which runs RQ's cron."""
    stack.kill(MAINTENANCE_WORKER)
    return Injury()


def kill_starting_worker(stack: Stack, dice: Random) -> Injury:
    """SIGKILL a worker, and its successor within the first second of its life."""
    worker, seconds = dice.choice(WORKERS), dice.uniform(0, 1)
    first = stack.send(worker, signal.SIGKILL)
    successor = stack.await_running(worker, other_than=first)
    time.sleep(seconds)
    record = stack.running(worker)
    if record and record.pid == successor:
        os.kill(successor, signal.SIGKILL)
    return Injury({"process": worker, "after_seconds": round(seconds, 3)})


def kill_fleet(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL the API and all workers at once."""
    stack.kill(*FLEET)
    return Injury()


def kill_everything(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL the API, all workers and all servers at once."""
    stack.kill(*FLEET, *SERVERS)
    return Injury()


def freeze_api(stack: Stack, dice: Random) -> Injury:
    """SIGSTOP the API for longer than anything counts as alive, then SIGCONT."""
    return _freeze(stack, dice, "api")


def freeze_worker(stack: Stack, dice: Random) -> Injury:
    """SIGSTOP a worker for longer than it counts as alive, then SIGCONT: others have taken over its work."""
    return _freeze(stack, dice, dice.choice(WORKERS))


def freeze_server(stack: Stack, dice: Random) -> Injury:
    """SIGSTOP a server, children included, then SIGCONT."""
    return _freeze(stack, dice, dice.choice(SERVERS))


def restart_workers(stack: Stack, _dice: Random) -> Injury:
    """SIGTERM one worker after the other, as a deployment does."""
    for worker in WORKERS:
        _restart(stack, worker)
    return Injury()


def restart_api(stack: Stack, _dice: Random) -> Injury:
    """SIGTERM the API."""
    _restart(stack, "api")
    return Injury()


def _freeze(stack: Stack, dice: Random, name: str) -> Injury:
    seconds = stack.liveness_seconds + dice.uniform(0.5, 2)
    with stack.frozen(name):
        time.sleep(seconds)
    return Injury({"process": name, "seconds": round(seconds, 1)})


def _restart(stack: Stack, name: str) -> None:
    pid = stack.send(name, signal.SIGTERM)
    stack.await_running(name, other_than=pid, timeout=_STOP_SECONDS)


FAULTS = (
    Fault("kill-api", "api", kill_api),
    Fault("kill-ingest-worker", "ingest worker", kill_ingest_worker),
    Fault("kill-index-worker", "index worker", kill_index_worker),
    Fault("kill-scheduler", "scheduler", kill_scheduler),
    Fault("kill-starting-worker", "start", kill_starting_worker),
    Fault("kill-fleet", "everything", kill_fleet),
    Fault("kill-everything", "everything", kill_everything),
    Fault("freeze-api", "freeze", freeze_api),
    Fault("freeze-worker", "freeze", freeze_worker, weight=2),
    Fault("freeze-server", "freeze", freeze_server, weight=2),
    Fault("restart-workers", "rolling restart", restart_workers),
    Fault("restart-api", "rolling restart", restart_api, weight=2),
)
