"""Requests to Elasticsearch as spans, by the names of its endpoints."""

from collections.abc import Mapping
from typing import Any

from elastic_transport import ApiResponse
from elasticsearch import Elasticsearch

from common.tracing.postgresql import ClientSpan


def traced_search(client_span: ClientSpan) -> type[Elasticsearch]:
    """A class of clients whose requests are spans."""

    class TracedElasticsearch(Elasticsearch):
        def perform_request(
            self,
            method: str,
            path: str,
            *,
            params: Mapping[str, Any] | None = None,
            headers: Mapping[str, str] | None = None,
            body: Any = None,
            endpoint_id: str | None = None,
            path_parts: Mapping[str, Any] | None = None,
        ) -> ApiResponse[Any]:
            name = endpoint_id or "request"
            attributes: dict[str, str | int] = {
                "db.system.name": "elasticsearch",
                "db.operation.name": name,
                "http.request.method": method,
            }
            with client_span(name, attributes) as span:
                answer = super().perform_request(
                    method,
                    path,
                    params=params,
                    headers=headers,
                    body=body,
                    endpoint_id=endpoint_id,
                    path_parts=path_parts,
                )
                if span is not None:
                    span.set_attribute("db.response.status_code", str(answer.meta.status))
                return answer

    return TracedElasticsearch
