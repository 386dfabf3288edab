"""What an ingress controller is to the API: passes requests on to its endpoints, over connections that stay open."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

_PASSED_ON = ("authorization", "content-type")
# As nginx has it: for so long an idle connection to an endpoint is used again.
_IDLE_SECONDS = 60
_TIMEOUT_SECONDS = 30


class Balancer:
    """Takes turns between its endpoints; like proxies with a POST, it tries no second one when one fails."""

    def __init__(self) -> None:
        self.url = ""
        self.broken: list[str] = []
        self._endpoints: dict[str, httpx.Client] = {}
        self._made = ExitStack()
        self._turn = 0
        self._lock = threading.Lock()

    def add(self, url: str) -> None:
        limits = httpx.Limits(keepalive_expiry=_IDLE_SECONDS)
        client = httpx.Client(base_url=url, limits=limits, timeout=_TIMEOUT_SECONDS, trust_env=False)
        self._made.enter_context(client)
        with self._lock:
            self._endpoints = {**self._endpoints, url: client}

    def remove(self, url: str) -> None:
        """No new request goes there from now on; those in work are finished."""
        with self._lock:
            self._endpoints = {other: client for other, client in self._endpoints.items() if other != url}

    def close(self) -> None:
        self._made.close()

    def pass_on(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        with self._lock:
            self._turn += 1
            clients = list(self._endpoints.values())
            client = clients[self._turn % len(clients)]
        try:
            answer = client.request(method, path, headers=headers, content=body)
        except httpx.TransportError as error:
            self.broken.append(f"{client.base_url}: {error!r}")
            return 502, b""
        return answer.status_code, answer.content


@contextmanager
def balancing() -> Iterator[Balancer]:
    """A balancer without endpoints yet, at `url`."""
    balancer = Balancer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None: ...

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name: self.headers[name] for name in _PASSED_ON}
            status, content = balancer.pass_on(self.command, self.path, headers, body)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    balancer.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield balancer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        balancer.close()
