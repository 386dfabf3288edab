"""Free TCP ports on the loopback address. Asking is done by binding, so no other server is ever contacted."""

import random
import socket

HOST = "127.0.0.1"

# Below the ports that systems hand to outgoing connections (32768 and up on Linux, 49152 and up on macOS):
# a client that keeps knocking at a dead server's port in that range can connect to itself, and then the
# server cannot have its port back.
_RANGE = range(20_000, 32_768)
_ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are only fading out (TIME_WAIT) counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port(*preferred: int) -> int:
    """The first free one of the `preferred` ports, or else any free one.

    Raises:
        OSError: no free port was found.
    """
    for port in preferred:
        if is_free(port):
            return port
    for port in random.sample(_RANGE, _ATTEMPTS):
        if is_free(port):
            return port
    raise OSError("no free TCP port between 20000 and 32767")
