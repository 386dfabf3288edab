"""What an API answers about itself while servers that it needs are missing."""

from typing import Any


def test_the_api_starts_without_any_server_and_says_so(
    environment: dict[str, str], api_serving: Any, unserved_port: int
) -> None:
    nowhere = {
        "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{unserved_port}/none",
        "REDIS_URL": f"redis://127.0.0.1:{unserved_port}/0",
        "ELASTICSEARCH_URL": f"http://127.0.0.1:{unserved_port}",
    }
    with api_serving(nowhere) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "unready"
        assert {name: found["status"] for name, found in answer.json()["dependencies"].items()} == {
            "postgresql": "error",
            "redis": "error",
            "elasticsearch": "error",
        }


def test_readiness_needs_redis_and_a_migrated_database_but_not_search(
    environment: dict[str, str], empty_database_url: str, api_serving: Any, unserved_port: int
) -> None:
    redis, search = f"redis://127.0.0.1:{unserved_port}/0", f"http://127.0.0.1:{unserved_port}"
    for changed, status in (
        ({}, "ready"),
        ({"ELASTICSEARCH_URL": search}, "degraded"),
        ({"REDIS_URL": redis}, "unready"),
        ({"DATABASE_URL": empty_database_url}, "unready"),
    ):
        with api_serving({**environment, **changed}) as client:
            answer = client.get("/readyz")
        assert answer.json()["status"] == status, changed
        assert answer.status_code == (503 if status == "unready" else 200)
    assert "sspp migrate" in answer.json()["dependencies"]["postgresql"]["detail"]
