"""What is answered to somebody who does not get as far as a request is surrounded by the same as all answers."""

import contextlib
import json
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from api.http.security_headers import STANDARD_HEADERS


@pytest.mark.parametrize(
    ("status", "sent"),
    [(400, b"nonsense\r\n\r\n"), (431, b"GET / HTTP/1.1\r\nhost: x\r\nx: " + 70_000 * b"a" + b"\r\n\r\n")],
)
def test_a_refused_head_is_answered_with_all_headers_counted_and_logged(
    start: Callable[..., Any],
    logins: Callable[[str, str], str],
    environment: dict[str, str],
    until: Any,
    status: int,
    sent: bytes,
) -> None:
    database = logins(environment["DATABASE_URL"], "sspp_api")
    api = start("api", DATABASE_URL=database, SSPP_HSTS_SECONDS="3600")
    until(api.answers)

    place = urlsplit(api.url)
    with socket.create_connection((place.hostname, place.port), timeout=30) as connection:
        connection.sendall(sent)
        answer = b""
        with contextlib.suppress(ConnectionError):  # it hangs up whether or not it has read all of it
            while data := connection.recv(65536):
                answer += data

    head, _, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.split(b"\r\n")
    headers = dict(line.split(b": ", 1) for line in lines)
    assert status_line.startswith(f"HTTP/1.1 {status} ".encode())
    assert set(STANDARD_HEADERS) <= headers.items()
    assert headers[b"strict-transport-security"] == b"max-age=3600; includeSubDomains"
    request_id = headers[b"x-request-id"].decode()
    assert json.loads(body)["instance"] == f"urn:sspp:request:{request_id}"
    [line] = [line for line in api.output.splitlines() if request_id in line]
    assert json.loads(line).items() >= {"event": "request_refused", "status": status}.items()
    counted = f'sspp_http_requests_total{{method="other",route="unmatched",status="{status}"}} 1.0'
    assert counted in httpx.get(api.url + "/metrics").text
