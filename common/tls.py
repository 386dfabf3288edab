"""What to say when TLS with a store fails."""

import ssl
from collections.abc import Iterator


def tls_fault(error: BaseException) -> str | None:
    """Why TLS failed, in the words of the checker, if that is what `error` comes from; else None."""
    for origin in _origins(error):
        if isinstance(origin, ssl.SSLCertVerificationError):
            return origin.verify_message
        if isinstance(origin, ssl.SSLError):
            return origin.reason or str(origin)
    return None


def _origins(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.append(each)
        yield each
        waiting += [origin for origin in (each.__cause__, each.__context__) if origin is not None]
