"""Whom the API takes a request to be from when proxies stand in front of it, and when somebody lies."""

from typing import Any

import pytest

from api.http.client_address import ClientAddresses

PROXIES = ("10.0.0.0/8", "fd00::/8")


def find(
    peer: str | None, *values: str, header: Any = "x-forwarded-for", trusted: Any = PROXIES
) -> str | None:
    headers = [(b"host", b"api"), *((header.encode(), value.encode("latin-1")) for value in values)]
    return ClientAddresses(trusted, header).find(peer, headers)


@pytest.mark.parametrize(
    ("peer", "values", "found"),
    [
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.9"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.9"], "203.0.113.7"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", [], "10.0.0.1"),
        # What a client wrote itself stands before what the proxy added.
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.2, 203.0.113.7"], "203.0.113.7"),
        # All of them proxies: the first one is whom the request is from.
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["[]"], "10.0.0.1"),
        ("10.0.0.1", ["[]:80"], "10.0.0.1"),
        ("10.0.0.1", ["'; DROP TABLE api_logs"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7, nonsense, 10.0.0.9"], "10.0.0.9"),
        # Nobody who is no proxy is believed.
        ("203.0.113.9", ["1.1.1.1"], "203.0.113.9"),
        ("fe80::1%eth0", [], "fe80::1"),
        (None, ["1.1.1.1"], None),
        ("a socket", ["1.1.1.1"], None),
    ],
)
def test_the_client_is_the_last_one_that_is_no_proxy(
    peer: str | None, values: list[str], found: str | None
) -> None:
    assert find(peer, *values) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=192.0.2.43;proto=https, by=10.0.0.1;for=10.0.0.9", "192.0.2.43"),
        ("for=1.1.1.1, for=203.0.113.7;by=10.0.0.9", "203.0.113.7"),
        ("for=_hidden", "10.0.0.1"),
        ('for="[]"', "10.0.0.1"),
        ("proto=https", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_likewise(value: str, found: str) -> None:
    assert find("10.0.0.1", value, header="forwarded") == found


def test_without_proxies_no_header_is_believed() -> None:
    assert find("10.0.0.1", "1.1.1.1", trusted=()) == "10.0.0.1"


def test_the_header_that_the_proxies_do_not_write_is_not_read() -> None:
    addresses = ClientAddresses(PROXIES)

    assert addresses.find("10.0.0.1", [(b"forwarded", b"for=1.1.1.1")]) == "10.0.0.1"
