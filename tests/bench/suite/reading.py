"""How long the statements of the API that read take, as the API runs them, on databases filled by `history`."""

import asyncio
import random
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, LiteralString, cast

import psycopg

from api.database.fetching import fetch_all
from common.database.connections import build_async_pool
from suite.asking import QUERIES, Asking, Parameters, Query
from suite.bench import Place
from suite.measuring import percentile

_WARM_UPS = 10  # from the sixth on, the driver has a statement prepared, and PostgreSQL may keep its plan
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
_BIG_BYTES = 1_000_000


def p95s(
    place: Place, signals: int, now: datetime, runs: int, number: int
) -> tuple[dict[str, float], list[str]]:
    """The 95th percentile of each query's milliseconds over `runs` runs, and what is wrong with the rows found.

    Each asks for something else, and for something else in each round `number`: caches help as they do in real life.
    """
    return asyncio.run(_p95s(place, Asking(place.tenant_id, signals, now, random.Random(number)), runs))


async def _p95s(place: Place, asking: Asking, runs: int) -> tuple[dict[str, float], list[str]]:
    found: dict[str, float] = {}
    problems: dict[str, None] = {}
    async with build_async_pool(place.database_url, application="sspp bench", max_size=1) as pool:
        for query in QUERIES:
            took = []
            for number in range(_WARM_UPS + runs):
                parameters = query.parameters(asking)
                started = time.perf_counter()
                rows = await fetch_all(pool, query.statement, parameters)
                if number >= _WARM_UPS:
                    took.append((time.perf_counter() - started) * 1000)
                if problem := query.check(parameters, rows):
                    problems[problem] = None
            found[query.name] = percentile(took, 0.95)
    return found, list(problems)


def check_plans(place: Place, signals: int, now: datetime) -> list[str]:
    """What is wrong with the plans, those for single parameters and those for any: big tables that are read in whole,
    and partitions that are looked into although `received_at` is known."""
    asking = Asking(place.tenant_id, signals, now, random.Random(0))
    problems = []
    with psycopg.connect(
        place.database_url, autocommit=True, cursor_factory=psycopg.ClientCursor
    ) as connection:
        connection.execute("SET jit = off")
        big = {
            row[0]
            for row in connection.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND pg_relation_size(oid) > %s",
                [_BIG_BYTES],
            )
        }
        for query in QUERIES:
            for mode in ("force_custom_plan", "force_generic_plan"):
                plan = _plan(connection, query, query.parameters(asking), mode)
                nodes = [node for node in _nodes(plan) if node["Actual Loops"] and "Relation Name" in node]
                problems += [
                    f"{query.name} ({mode}): Seq Scan on {node['Relation Name']}"
                    for node in nodes
                    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in big
                ]
                partitions = {
                    n["Relation Name"] for n in nodes if re.match("(events|signals)_", n["Relation Name"])
                }
                if query.one_partition and len({name.split("_", 1)[1] for name in partitions}) != 1:
                    problems.append(f"{query.name} ({mode}): looked into {sorted(partitions)}")
    return problems


def _plan(
    connection: psycopg.Connection, query: Query, parameters: Parameters, mode: str
) -> Mapping[str, Any]:
    names = list(dict.fromkeys(_PLACEHOLDER.findall(query.statement)))
    numbered = _PLACEHOLDER.sub(lambda match: f"${names.index(match[1]) + 1}", query.statement)
    connection.execute(cast("LiteralString", f"SET plan_cache_mode = {mode}"))
    connection.execute(cast("LiteralString", f"PREPARE asked AS {numbered}"))
    places = ", ".join(["%s"] * len(names))
    row = connection.execute(
        cast("LiteralString", f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE asked ({places})"),
        [parameters[name] for name in names],
    ).fetchone()
    connection.execute("DEALLOCATE asked")
    assert row is not None
    return cast("Mapping[str, Any]", row[0][0]["Plan"])


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
