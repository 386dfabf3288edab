"""The headers by which every answer tells browsers and caches to do no more with it than its reader asked for.

As the OWASP REST Security Cheat Sheet has them.
"""

from collections.abc import Sequence

Header = tuple[bytes, bytes]

STANDARD_HEADERS: tuple[Header, ...] = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class SecurityHeaders:
    """Adds the standard headers to an answer's own, which win.

    Args:
        hsts_seconds: for how long browsers are to come back by https only; 0 to leave it open.
    """

    def __init__(self, *, hsts_seconds: int = 0) -> None:
        hsts = (b"strict-transport-security", f"max-age={hsts_seconds}; includeSubDomains".encode())
        self._added = [*STANDARD_HEADERS, *([hsts] if hsts_seconds else [])]
        self._names = {name for name, _ in self._added}

    def complete(self, own: Sequence[Header]) -> list[Header]:
        """The headers of an answer that sets `own`, their names in lower case."""
        if self._names.isdisjoint(name for name, _ in own):
            return [*own, *self._added]
        named = {name for name, _ in own}
        return [*own, *(header for header in self._added if header[0] not in named)]
