"""Runs the API in this process: ``python -m api``, on SSPP_HOST and PORT."""

import sys

import uvicorn

from common.errors import SettingsError
from common.settings import load_settings

# Requests in work get this long to finish after SIGTERM; Kubernetes grants 30 seconds by default.
_GRACE_SECONDS = 15


def main() -> None:
    """Serve until SIGTERM or SIGINT; with status 1 and a message if the settings are wrong."""
    try:
        settings = load_settings()
    except SettingsError as error:
        sys.exit(f"The API cannot start: {error.detail}")
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        # Our own formatter takes uvicorn's lines too, once create_app has set it up.
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


if __name__ == "__main__":
    main()
