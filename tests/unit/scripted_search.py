"""A search server in a function, for tests without sockets."""

import json
from collections.abc import Callable
from typing import Any

from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders, NodeConfig
from elastic_transport._node import NodeApiResponse
from elasticsearch import Elasticsearch

from common.search.documents import Document

Answer = tuple[int, Any]
CREATED = {"index": {"status": 201}}


class Server:
    """A server in a function: `answer` gets method, path and body lines, and returns status and JSON."""

    def __init__(self, answer: Callable[[str, str, list[bytes]], Answer]) -> None:
        self.requests: list[tuple[str, str, list[bytes]]] = []
        server = self

        class Node(BaseNode):
            def __init__(self, config: NodeConfig) -> None:
                super().__init__(config)

            def perform_request(  # type: ignore[override]
                self, method: str, target: str, body: bytes | None = None, **_: Any
            ) -> NodeApiResponse:
                path, lines = target.partition("?")[0], (body or b"").splitlines()
                server.requests.append((method, path, lines))
                status, content = answer(method, path, lines)
                headers = HttpHeaders(
                    {"content-type": "application/json", "x-elastic-product": "Elasticsearch"}
                )
                meta = ApiResponseMeta(status, "1.1", headers, 0.0, self.config)
                return NodeApiResponse(meta, json.dumps(content).encode())

            def close(self) -> None:
                pass

        self.client = Elasticsearch("http://search.test:9200", node_class=Node, max_retries=0)


def answering(*items: dict[str, Any]) -> Server:
    return Server(lambda *_: (200, {"items": list(items)}))


def documents(count: int, size: int = 20) -> list[Document]:
    return [Document("signals-2026-11", f"id-{n}", b'"' + b"x" * (size - 2) + b'"') for n in range(count)]


def item(status: int, error_type: str = "some_exception", **error: Any) -> dict[str, Any]:
    return {"index": {"status": status, "error": {"type": error_type, "reason": "why", **error}}}
