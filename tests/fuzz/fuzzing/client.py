"""A sane client of the API, on one connection: it sends again what the server was too busy for."""

import time

from fuzzing.ledger import Ledger
from fuzzing.platform import Platform, Tenant
from fuzzing.wire import Answer, Connection, request_bytes

_ATTEMPTS = 60
_MOST_SECONDS_BETWEEN = 2.0


class Client:
    """Asks with `key`, and enters into the books how often it was turned away."""

    def __init__(self, platform: Platform, tenant: Tenant, ledger: Ledger) -> None:
        self.key = tenant.key
        self._ledger = ledger
        self._connection = Connection(platform.address)

    def send(self, request: bytes) -> Answer:
        """Send a request once."""
        return self._connection.exchange(request)

    def exchange(self, request: bytes) -> Answer:
        """Send a request, again after a while if the server says that it is busy; the last answer is returned."""
        for _ in range(_ATTEMPTS):
            answer = self.send(request)
            if answer.status not in (429, 503):
                break
            self._ledger.shed += 1
            time.sleep(min(_MOST_SECONDS_BETWEEN, float(answer.headers.get("retry-after", "1"))))
        return answer

    def get(self, target: str) -> Answer:
        headers = (("authorization", f"Bearer {self.key}"),)
        return self.exchange(request_bytes("GET", target, headers))

    def close(self) -> None:
        self._connection.close()
