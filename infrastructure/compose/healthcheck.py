"""Whether the process of this container answers: the image's HEALTHCHECK, by exit status 0 or 1.

One image is all roles, and each listens on a port of its own: the API on PORT, a worker on SSPP_WORKER_METRICS_PORT. It
is alive if either answers. Whether its stores are there is another question: a process that waits for them is well, and
restarting it would help nobody.
"""

import http.client
import os
import sys
from collections.abc import Mapping
from http import HTTPStatus

_PATIENCE_SECONDS = 3.0

_PATHS = {
    "PORT": "/healthz",
    # Where prometheus-client answers without collecting: that would ask the stores.
    "SSPP_WORKER_METRICS_PORT": "/favicon.ico",
}


def is_alive(environ: Mapping[str, str]) -> bool:
    """Whether something answers 200 on one of the ports that `environ` names, on this machine."""
    return any(_answers(int(environ.get(name) or 0), path) for name, path in _PATHS.items())


def _answers(port: int, path: str) -> bool:
    if not port:
        return False
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive(os.environ) else 1)
