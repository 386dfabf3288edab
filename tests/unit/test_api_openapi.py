"""The OpenAPI document: valid, complete and with examples."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis

from api.app import create_app
from api.health.probes import SCHEMA_VERSION
from api.ingest.events import DIRECT_ROUTE
from common.settings import Settings
from infrastructure.database.migrate import MIGRATIONS

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    settings = Settings.model_validate(
        {
            "DATABASE_URL": "postgresql://127.0.0.1/none",
            "REDIS_URL": "redis://127.0.0.1/0",
            "ELASTICSEARCH_URL": "http://127.0.0.1",
        }
    )
    return create_app(settings).openapi()


def operations(openapi: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in openapi["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method} {path}", item[method]


def test_the_document_is_valid_and_its_references_lead_somewhere(openapi: dict[str, Any]) -> None:
    schema = schemathesis.openapi.from_dict(openapi)
    found = [operation.ok() for operation in schema.get_all_operations()]
    assert len(found) == len(list(operations(openapi)))

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            for member in node.values():
                yield from references(member)
        elif isinstance(node, list):
            for member in node:
                yield from references(member)

    for reference in references(openapi):
        name = reference.removeprefix("#/components/schemas/")
        assert name in openapi["components"]["schemas"], reference
    json.dumps(openapi)


def test_every_operation_is_described_with_tag_and_example(openapi: dict[str, Any]) -> None:
    tags = {tag["name"] for tag in openapi["tags"]}
    for name, operation in operations(openapi):
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        successes = [item for item in operation["responses"].items() if item[0].startswith("2")]
        assert successes, name
        for status, success in successes:
            assert ("content" in success) == (status != "204"), name
            for media_type in success.get("content", {}).values():
                assert "example" in media_type or "examples" in media_type, name
        if "requestBody" in operation:
            for media_type in operation["requestBody"]["content"].values():
                assert "example" in media_type or "examples" in media_type, name


def test_every_operation_with_a_key_declares_scheme_and_problems(openapi: dict[str, Any]) -> None:
    [scheme] = openapi["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for name, operation in operations(openapi):
        if "/v1/" not in name:
            assert "security" not in operation, name
            continue
        assert operation["security"], name
        for status in ("401", "403", "422", "503"):
            content = operation["responses"][status]["content"]
            assert list(content) == ["application/problem+json"], (name, status)


def test_readiness_asks_for_the_newest_migration() -> None:
    versions = [int(path.name[:4]) for path in MIGRATIONS.glob("[0-9]*.sql")]
    assert max(versions) == SCHEMA_VERSION


def test_what_is_answered_past_the_framework_is_documented_all_the_same(openapi: dict[str, Any]) -> None:
    assert DIRECT_ROUTE.method.lower() in openapi["paths"][DIRECT_ROUTE.path]
