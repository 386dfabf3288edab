"""Runs the API in this process: ``python -m api``, on SSPP_HOST and PORT."""

import contextlib
import socket
import sys

import uvicorn

from api.http.protocol import BoundedHttpProtocol
from api.startup import verify
from common.errors import SettingsError
from common.interpreter import settle
from common.logging import configure_logging
from common.settings import load_settings

# Requests in work get this long to finish after SIGTERM; Kubernetes grants 30 seconds by default.
_GRACE_SECONDS = 15

# Longer than what is in front keeps idle connections to us, nginx for 60 seconds: else one that we close is sometimes
# taken for one more request in that moment, and a POST that fails so is not sent again by any proxy.
_KEEP_ALIVE_SECONDS = 75

# What some hundred requests make. Their bodies would be far too much: no request may end in a cycle, failed or not.
_YOUNG_OBJECTS = 20_000


def main() -> None:
    """Serve until SIGTERM or SIGINT; end with status 1 and a message if the setup is wrong."""
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format)
        verify(settings)
    except SettingsError as error:
        sys.exit(f"The API cannot start: {error.detail}")
    config = uvicorn.Config(
        "api.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedHttpProtocol,
        access_log=False,
        # Our own formatter takes uvicorn's lines too, once create_app has set it up.
        log_config=None,
        server_header=False,
        proxy_headers=False,  # whose word is taken for a client's address is a setting of ours
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    server = _Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        sys.exit(3)  # as uvicorn's own command has it: the log tells why


class _Server(uvicorn.Server):
    """Settles the interpreter once the app is made and all of it imported."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settle(young_objects=_YOUNG_OBJECTS)


if __name__ == "__main__":
    main()
