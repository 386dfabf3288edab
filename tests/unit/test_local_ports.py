import socket
from collections.abc import Iterator

import pytest

from infrastructure.local.ports import free_port, is_free


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not is_free(taken)


def test_the_first_free_preferred_port_is_taken(taken: int) -> None:
    free = free_port()
    assert free_port(taken, free) == free


def test_any_port_is_below_those_of_outgoing_connections(taken: int) -> None:
    port = free_port(taken)
    assert is_free(port)
    assert 20_000 <= port < 32_768
