"""What a client may send outside of bodies, on real connections to a server that speaks our HTTP."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from patience import PATIENCE_SECONDS

from api.http import protocol
from api.http.body import BODY_ARRIVED
from api.http.protocol import MAX_HEAD_BYTES, BoundedHttpProtocol
from api.http.security_headers import STANDARD_HEADERS

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
LARGE = 64 * 1024 * 1024
POST = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


async def echo_size(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body, and whether it was there at once; hangs up where the client did.

    On /early it answers without looking at the body, on /large with far more than buffers hold.
    """
    if scope["type"] != "http":
        return
    size = 0
    arrived = BODY_ARRIVED in scope.get("extensions", ())
    while scope["path"] != "/early":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    body = bytes(LARGE) if scope["path"] == "/large" else str(size).encode()
    headers = [(b"content-length", str(len(body)).encode()), (b"arrived", str(arrived).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/crash":
        raise RuntimeError("after the head")
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def address(until: Any) -> Iterator[tuple[str, int]]:
    config = uvicorn.Config(
        echo_size, host="127.0.0.1", port=0, http=BoundedHttpProtocol, log_config=None, lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers wait for heads for a moment only."""
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)


@contextmanager
def answered(address: tuple[str, int], request: bytes = GET + b"\r\n") -> Iterator[socket.socket]:
    """A connection whose first request was just answered well."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        yield connection


def exchange(address: tuple[str, int], *pieces: bytes) -> tuple[int, Any]:
    """The status and the body of the last answer, read until the server hangs up or has answered in full."""
    with socket.create_connection(address, timeout=30) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except ConnectionError:
            pass
        answer = b""
        while not _complete(answer) and (data := connection.recv(65536)):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def _complete(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end and lengths) and len(body) >= int(lengths[0].split(b":")[1])


def test_a_head_up_to_the_limit_is_fine_and_the_connection_serves_the_next(address: tuple[str, int]) -> None:
    filler = b"x: " + b"a" * (MAX_HEAD_BYTES - 100) + b"\r\n\r\n"

    assert exchange(address, GET + filler) == (200, 0)
    with socket.create_connection(address, timeout=30) as connection:
        for _ in range(3):
            connection.sendall(GET + filler)
            answer = b""
            while not _complete(answer):
                answer += connection.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x: " + b"a" * MAX_HEAD_BYTES,
        GET + b"x" * (MAX_HEAD_BYTES + 1),
        b"GET /" + b"a" * MAX_HEAD_BYTES,
        GET + b"a: b\r\n" * MAX_HEAD_BYTES,
    ],
    ids=["value", "name", "target", "many"],
)
@pytest.mark.parametrize("end", [b"", b" HTTP/1.1\r\n\r\n"], ids=["endless", "ended"])
def test_a_larger_head_is_refused_whether_or_not_it_ever_ends(
    address: tuple[str, int], head: bytes, end: bytes
) -> None:
    status, problem = exchange(address, head + end)

    assert (status, problem["code"]) in {(431, "headers_too_large"), (400, "bad_request")}
    assert status == 431 or end


def test_trailers_and_chunk_extensions_are_bounded_too(address: tuple[str, int]) -> None:
    for flood in (b"0\r\nx: " + b"a" * 300_000, b"5;" + b"a" * 300_000):
        status, problem = exchange(address, POST, b"5\r\nhello\r\n", flood)
        assert (status, problem["code"]) == (431, "headers_too_large")


def test_a_body_of_many_small_chunks_is_no_head(address: tuple[str, int]) -> None:
    assert exchange(address, POST, b"1\r\nx\r\n" * 100_000, b"0\r\n\r\n") == (200, 100_000)


def test_what_is_no_http_is_a_problem_too(address: tuple[str, int]) -> None:
    for noise in (b"\x16\x03\x01\x02\x00\r\n\r\n", POST + b"zz\r\n"):
        status, problem = exchange(address, noise)
        assert (status, problem["code"], problem["status"]) == (400, "bad_request", 400)


@pytest.mark.usefixtures("impatient")
def test_a_head_that_does_not_arrive_in_time_is_given_up(address: tuple[str, int]) -> None:
    status, problem = exchange(address, GET)

    assert (status, problem["code"]) == (408, "request_timeout")
    with socket.create_connection(address, timeout=30) as connection:
        assert connection.recv(100) == b""  # nobody asked anything: there is nothing to answer


@pytest.mark.usefixtures("impatient")
def test_the_head_of_a_later_request_has_to_arrive_in_time_too(address: tuple[str, int]) -> None:
    with answered(address) as connection:
        connection.sendall(GET)
        assert read_all(connection).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("rest", [b"\r\n", b"\r\n\r\n\r\n"])
@pytest.mark.usefixtures("impatient")
def test_an_idle_connection_is_given_up_although_something_arrived_that_is_no_request(
    address: tuple[str, int], rest: bytes
) -> None:
    with answered(address) as connection:
        connection.sendall(rest)
        assert read_all(connection) == b""  # nobody asked anything: there is nothing to answer


@pytest.mark.usefixtures("impatient")
def test_a_connection_is_given_up_whose_request_was_answered_early_and_never_ends(
    address: tuple[str, int],
) -> None:
    with answered(address, POST.replace(b"/", b"/early", 1)) as connection:
        connection.sendall(b"5\r\nhello\r\n")
        assert read_all(connection) == b""


def test_a_connection_serves_on_after_empty_lines_and_bodies_that_were_answered_early(
    address: tuple[str, int],
) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        for _ in range(3):
            connection.sendall(b"\r\n" + POST.replace(b"/", b"/early", 1))
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
            connection.sendall(b"5\r\nhello\r\n")
            connection.sendall(b"0\r\n\r\n\r\n" + GET + b"\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(GET + b"connection: close\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_an_answer_without_a_body_still_has_its_head(address: tuple[str, int]) -> None:
    for request in (
        b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET /crash HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(address, timeout=30) as connection:
            connection.sendall(request)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 200"), request
        assert answer.endswith(b"\r\n\r\n")


def test_who_asks_first_is_told_to_go_on_before_the_answer(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(POST[:-2] + b"expect: 100-continue\r\nconnection: close\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"5\r\nhello\r\n0\r\n\r\n")
        answer = read_all(connection)

    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n5")
    assert b"arrived: False" in answer


def test_a_body_that_comes_with_its_head_is_known_to_be_there(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(POST[:-2] + b"connection: close\r\n\r\n" + b"5\r\nhello\r\n0\r\n\r\n")
        assert b"arrived: True" in read_all(connection)


def test_who_wants_to_speak_something_else_is_answered_all_the_same(address: tuple[str, int]) -> None:
    upgrade = b"connection: upgrade, close\r\nupgrade: websocket\r\n\r\n"
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(GET + upgrade)
        assert read_all(connection).startswith(b"HTTP/1.1 ")


def read_all(connection: socket.socket) -> bytes:
    """What arrives until the server hangs up."""
    received = b""
    while data := connection.recv(65536):
        received += data
    return received


def test_a_client_that_asks_for_much_and_does_not_read_it_is_cut_off(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.2)
    lost, real = threading.Event(), BoundedHttpProtocol.connection_lost

    def notice(protocol: BoundedHttpProtocol, why: Exception | None) -> None:
        real(protocol, why)
        lost.set()

    monkeypatch.setattr(BoundedHttpProtocol, "connection_lost", notice)

    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(GET.replace(b"/", b"/large", 1) + b"\r\n")
        assert lost.wait(PATIENCE_SECONDS)
        assert len(read_all(connection)) < LARGE


def test_a_slow_reader_gets_all_of_it(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STALL_SECONDS", 0.05)
    read = 0

    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(GET.replace(b"/", b"/large", 1) + b"connection: close\r\n\r\n")
        while data := connection.recv(256 * 1024):
            read += len(data)

    assert read > LARGE


def test_refusals_carry_the_security_headers_too(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        head = read_all(connection).partition(b"\r\n\r\n")[0].split(b"\r\n")

    assert {name + b": " + value for name, value in STANDARD_HEADERS} <= set(head)
