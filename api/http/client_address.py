"""Where a request comes from, which a reverse proxy in front of the API knows better than the connection does."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Literal

Address = IPv4Address | IPv6Address

# Of one element of RFC 7239's list only this parameter; a port and the brackets around IPv6 are cut off later.
_FORWARDED_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;]*)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[(?P<v6>[^\]]*)\](?::\d+)?|(?P<v4>[\d.]+):\d+")


class ClientAddresses:
    """Tells clients from the proxies in between.

    A proxy adds whom it heard to the end of the list in its header, so the list is read from there: what follows the
    first address that is no trusted proxy anybody may have written. Exactly one header is read, since a proxy that adds
    to one passes on the other as a client sent it.

    Args:
        trusted: the networks of the proxies, as `ip_network` takes them.
        header: which header they add to.
    """

    def __init__(
        self, trusted: Iterable[str], header: Literal["x-forwarded-for", "forwarded"] = "x-forwarded-for"
    ) -> None:
        self._trusted = [ip_network(network) for network in trusted]
        self._header = header.encode()
        self._named = _named_by_forwarded if header == "forwarded" else _named_by_x_forwarded_for

    def find(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """The address of the client, without port and zone.

        Args:
            peer: the other end of the connection; None if it has no address.
            headers: the request's.
        """
        if not self._trusted:
            return _text(peer)
        found = _parse(peer) if peer else None
        if found is None:
            return None
        if self._is_trusted(found):
            elements = b",".join(value for name, value in headers if name == self._header)
            for name in self._named(elements.decode("latin-1").split(",")):
                client = _parse(name)
                if client is None:  # hidden, unknown, or nonsense: what is known best is who said so
                    break
                found = client
                if not self._is_trusted(found):
                    break
        return str(found)

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def _named_by_x_forwarded_for(elements: Sequence[str]) -> Iterator[str]:
    return (element.strip() for element in reversed(elements))


def _named_by_forwarded(elements: Sequence[str]) -> Iterator[str]:
    for element in reversed(elements):
        match = _FORWARDED_FOR.search(element)
        yield match[1].strip().strip('"') if match else ""


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    match = _WITH_PORT.fullmatch(text)
    bare = (match["v4"] or match["v6"]) if match else text
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=4096)
def _text(peer: str | None) -> str | None:
    address = _parse(peer) if peer else None
    return str(address) if address is not None else None
