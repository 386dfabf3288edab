"""Faults of the stores: killed, restarted, full, slow, refusing, silent."""

import contextlib
import os
import signal
import time
from random import Random

from harness.faults.fault import Fault, Injury
from harness.stack import Stack

_STOP_SECONDS = 60
_BACKENDS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND application_name LIKE 'sspp%'
ORDER BY pid
"""
_TERMINATE = f"SELECT count(pg_terminate_backend(pid)) FROM ({_BACKENDS}) AS ours"


def kill_valkey(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL Valkey; it comes back with what its append-only file holds."""
    stack.kill("valkey")
    return Injury()


def cut_valkey_connections(stack: Stack, _dice: Random) -> Injury:
    """Close every client's connection to Valkey."""
    with stack.stores.redis() as client:
        client.client_kill_filter(_type="normal", skipme=True)
    return Injury()


def fill_queue(stack: Stack, dice: Random) -> Injury:
    """Take away Valkey's room for some seconds, so that it refuses writes."""
    seconds = dice.uniform(2, 6)
    with stack.stores.redis() as client:
        maxmemory = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", max(1, client.info("memory")["used_memory"] // 2))
        try:
            time.sleep(seconds)
        finally:
            client.config_set("maxmemory", maxmemory)
    return Injury({"seconds": round(seconds, 1)})


def kill_postgres(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL PostgreSQL's postmaster."""
    stack.kill("postgres")
    return Injury()


def kill_backend(stack: Stack, dice: Random) -> Injury:
    """SIGKILL one of PostgreSQL's backends, for which it ends all others and recovers."""
    with stack.stores.database() as session:
        backends = [pid for (pid,) in session.execute(_BACKENDS)]
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice(backends), signal.SIGKILL)
    return Injury()


def terminate_backends(stack: Stack, _dice: Random) -> Injury:
    """pg_terminate_backend for every session of the platform."""
    with stack.stores.database() as session:
        session.execute(_TERMINATE)
    return Injury()


def restart_postgres(stack: Stack, _dice: Random) -> Injury:
    """A clean, fast restart of PostgreSQL."""
    pid = stack.send("postgres", signal.SIGINT)
    stack.await_running("postgres", other_than=pid, timeout=_STOP_SECONDS)
    return Injury()


def slow_postgres(stack: Stack, dice: Random) -> Injury:
    """Hold up every chunk of bytes between the platform and PostgreSQL."""
    delay, seconds = dice.uniform(0.02, 0.3), dice.uniform(3, 8)
    with stack.database_proxy.slow(delay):
        time.sleep(seconds)
    return Injury({"delay_seconds": round(delay, 3), "seconds": round(seconds, 1)})


def cut_postgres_connections(stack: Stack, _dice: Random) -> Injury:
    """Reset every connection between the platform and PostgreSQL; the server learns of it late or never."""
    stack.database_proxy.drop_connections()
    return Injury()


def kill_search(stack: Stack, _dice: Random) -> Injury:
    """SIGKILL the search server, which then forgets up to a second of what it had acknowledged."""
    stack.kill("search")
    return Injury()


def refuse_documents(stack: Stack, dice: Random) -> Injury:
    """Answer 429 or 503 for some documents of each bulk."""
    share, status, seconds = dice.uniform(0.05, 0.9), dice.choice((429, 503)), dice.uniform(2, 5)
    with stack.search_proxy.refusing_documents(share, status):
        time.sleep(seconds)
    return Injury({"share": round(share, 2), "status": status, "seconds": round(seconds, 1)})


def fail_search(stack: Stack, dice: Random) -> Injury:
    """Answer 5xx or 429 to whatever is asked of search."""
    status, seconds = dice.choice((429, 500, 502, 503, 504)), dice.uniform(2, 5)
    with stack.search_proxy.failing(status):
        time.sleep(seconds)
    return Injury({"status": status, "seconds": round(seconds, 1)})


def hang_search(stack: Stack, dice: Random) -> Injury:
    """Let search answer nothing."""
    seconds = dice.uniform(3, 8)
    with stack.search_proxy.hanging():
        time.sleep(seconds)
    return Injury({"seconds": round(seconds, 1)})


FAULTS = (
    Fault("kill-valkey", "valkey", kill_valkey, weight=3),
    Fault("cut-valkey-connections", "valkey", cut_valkey_connections),
    Fault("fill-queue", "queue", fill_queue),
    Fault("kill-postgres", "postgres", kill_postgres, weight=2),
    Fault("kill-backend", "postgres", kill_backend),
    Fault("terminate-backends", "postgres", terminate_backends),
    Fault("restart-postgres", "postgres", restart_postgres),
    Fault("slow-postgres", "slow database", slow_postgres, weight=2),
    Fault("cut-postgres-connections", "slow database", cut_postgres_connections),
    Fault("kill-search", "search server", kill_search),
    Fault("refuse-documents", "search answers", refuse_documents, weight=2),
    Fault("fail-search", "search answers", fail_search),
    Fault("hang-search", "search answers", hang_search),
)
