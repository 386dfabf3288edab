"""Which processes start in production, and what those that do not say."""

from collections.abc import Callable
from typing import Any

import pytest
from patience import PATIENCE_SECONDS

SAID = {"SSPP_ENVIRONMENT": "production"}
NOWHERE = "store.invalid"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (SAID | {"LOG_LEVEL": "DEBUG"}, "LOG_LEVEL: DEBUG"),
        ({"ELASTICSEARCH_URL": f"http://a:b3x@{NOWHERE}"}, "SSPP_ALLOW_PLAINTEXT=elasticsearch"),
        ({"DATABASE_URL": "postgresql://u:p/w@127.0.0.1/x"}, "DATABASE_URL: this is no URL"),
    ],
)
def test_neither_api_nor_worker_starts_with_what_production_refuses(
    start: Callable[..., Any], changes: dict[str, str], words: str
) -> None:
    for name, who in (("api", "API"), ("ingest", "worker")):
        ended = start(name, **changes)
        assert ended.process.wait(PATIENCE_SECONDS) == 1
        assert f"The {who} cannot start: " in ended.output
        assert words in ended.output


def test_a_worker_does_not_start_if_rqs_own_connection_is_unsafe(
    start: Callable[..., Any], environment: dict[str, str]
) -> None:
    """RQ connects before it hands over to the worker: the option lets it, whatever the variable says."""
    ended = start("ingest", "--url", environment["REDIS_URL"], **SAID, RQ_REDIS_URL=f"redis://{NOWHERE}")

    assert ended.process.wait(PATIENCE_SECONDS) == 1
    assert "RQ_REDIS_URL: the connection is not encrypted" in ended.output


def test_the_api_does_not_start_with_a_role_that_sees_all_tenants(
    start: Callable[..., Any], environment: dict[str, str], logins: Callable[[str, str], str]
) -> None:
    for role in ("sspp_worker", None):
        url = logins(environment["DATABASE_URL"], role) if role else environment["DATABASE_URL"]
        ended = start("api", **SAID, DATABASE_URL=url)
        assert ended.process.wait(PATIENCE_SECONDS) == 1
        assert "is not bound by row-level security" in ended.output
        assert "sspp roles enable sspp_api" in ended.output


def test_the_api_does_not_start_as_the_owner_of_the_tables(
    start: Callable[..., Any], environment: dict[str, str], logins: Callable[[str, str], str], api_store: Any
) -> None:
    url = logins(environment["DATABASE_URL"], "sspp_reporting")
    role = url.partition("://")[2].partition(":")[0]
    api_store.execute(f"ALTER TABLE outbox OWNER TO {role}")

    ended = start("api", **SAID, DATABASE_URL=url)

    assert ended.process.wait(PATIENCE_SECONDS) == 1
    assert "owns the tables" in ended.output


def test_the_api_serves_in_production_as_its_own_role(
    start: Callable[..., Any], environment: dict[str, str], logins: Callable[[str, str], str], until: Any
) -> None:
    api = start("api", **SAID, DATABASE_URL=logins(environment["DATABASE_URL"], "sspp_api"))

    until(api.answers)


def test_on_one_machine_where_nobody_speaks_of_production_the_owners_role_and_debug_are_let_through(
    start: Callable[..., Any], environment: dict[str, str], until: Any
) -> None:
    api = start("api", LOG_LEVEL="DEBUG")

    until(api.answers)
    assert "database_role_too_mighty" in api.output


def test_a_role_that_was_not_asked_at_the_start_is_noticed_by_readyz(
    api_serving: Any, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, until: Any
) -> None:
    with api_serving(environment | SAID) as client:
        assert client.get("/readyz").status_code == 200

        async def mighty(*_: object) -> dict[str, Any]:
            return {"version": 10_000, "bypasses": True, "owns_tables": True}

        monkeypatch.setattr("api.health.probes.fetch_one", mighty)
        until(lambda: "row-level security" in client.get("/readyz").text)
