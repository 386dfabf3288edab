"""Runs the API in this process: ``python -m api``, on SSPP_HOST and PORT."""

import contextlib
import socket
import sys

import uvicorn

from api.http_protocol import BoundedHttpProtocol
from common.errors import QueueUnavailableError, SettingsError
from common.interpreter import settle
from common.logging import configure_logging
from common.queue.durability import check_durability
from common.redis import open_redis
from common.settings import Settings, load_settings

# Requests in work get this long to finish after SIGTERM; Kubernetes grants 30 seconds by default.
_GRACE_SECONDS = 15

# What some hundred requests make. Their bodies would be far too much: no request may end in a cycle, failed or not.
_YOUNG_OBJECTS = 20_000


def main() -> None:
    """Serve until SIGTERM or SIGINT; with status 1 and a message if the settings, or Redis's own, are wrong."""
    try:
        settings = load_settings()
        _verify_redis(settings)
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
        proxy_headers=False,  # nothing here asks where a request came from
        timeout_graceful_shutdown=_GRACE_SECONDS,
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


def _verify_redis(settings: Settings) -> None:
    """Refuse to start with a Redis that is no place for events. One that is away is looked at when it is back."""
    configure_logging(settings.log_level, settings.log_format)
    with (
        open_redis(settings.redis_url.get_secret_value(), timeout_seconds=2) as client,
        contextlib.suppress(QueueUnavailableError),
    ):
        check_durability(client, settings.environment)


if __name__ == "__main__":
    main()
