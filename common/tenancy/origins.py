"""Origins of web pages: scheme, host and port, as browsers write them in ``Origin`` (RFC 6454, section 6.1)."""

import re

from common.tenancy.errors import InvalidOriginError

_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://"  # apps have schemes of their own
    r"((?:[a-z0-9](?:[a-z0-9._-]{0,252})|\[[0-9a-f:.]{2,45}\])(?::(\d{1,5}))?)"
)
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def parse_origin(text: str, path: str = "") -> str:
    """The origin that `text` means, as browsers write it: small letters, and no port where it is the scheme's own.

    Raises:
        InvalidOriginError: it is no origin, a JSON Pointer to which is `path`; a path, ``*`` or ``null`` is none.
    """
    match = _ORIGIN.fullmatch(text.strip().lower())
    if match is None:
        raise InvalidOriginError(
            f"{text!r} is no origin of a web page, such as https://shop.example or http://localhost:3000",
            path,
        )
    scheme, place, port = match.groups()
    if port is not None and port == _DEFAULT_PORTS.get(scheme):
        place = place.removesuffix(f":{port}")
    return f"{scheme}://{place}"
