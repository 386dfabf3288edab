"""The lists that the API answers: one page of them, or all."""

from typing import Any

import httpx


def ids(client: httpx.Client, path: str, key: str = "event_id", **parameters: Any) -> list[str]:
    """The ids on the first page."""
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return [item[key] for item in answer.json()["items"]]


def walk(client: httpx.Client, path: str, key: str = "event_id", **parameters: Any) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        answer = client.get(path, params={**parameters, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        found += [item[key] for item in body["items"]]
        cursor = body["next_cursor"]
        if cursor is None:
            return found
