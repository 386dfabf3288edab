"""Runs the API in this process: ``python -m api``, on SSPP_HOST and PORT."""

import contextlib
import sys

import uvicorn

from api.http_protocol import BoundedHttpProtocol
from common.errors import QueueUnavailableError, SettingsError
from common.logging import configure_logging
from common.queue.durability import check_durability
from common.redis import open_redis
from common.settings import Settings, load_settings

# Requests in work get this long to finish after SIGTERM; Kubernetes grants 30 seconds by default.
_GRACE_SECONDS = 15


def main() -> None:
    """Serve until SIGTERM or SIGINT; with status 1 and a message if the settings, or Redis's own, are wrong."""
    try:
        settings = load_settings()
        _verify_redis(settings)
    except SettingsError as error:
        sys.exit(f"The API cannot start: {error.detail}")
    uvicorn.run(
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
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


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
