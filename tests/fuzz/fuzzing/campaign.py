"""A run: draw inputs from all families, send them, judge each answer, and at the end the stores."""

import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from fuzzing.bodies import BODY_FAMILIES
from fuzzing.client import Client
from fuzzing.connections import CONNECTION_FAMILIES
from fuzzing.draft import STORED, Input, Source, becomes
from fuzzing.events import EVENT_FAMILIES
from fuzzing.ledger import Ledger
from fuzzing.oracle import read_answer
from fuzzing.plan import plan
from fuzzing.platform import Platform, Tenant
from fuzzing.posts import ACCEPTED, Post, array, ndjson, single
from fuzzing.reading import read_back
from fuzzing.receipts import check_receipt
from fuzzing.requests import REQUEST_FAMILIES
from fuzzing.stores import Stores
from fuzzing.wire import Connection

_EVENTS_OF_A_REQUEST, _BYTES_OF_A_REQUEST = 400, 6 * 1024 * 1024
# Shares: of the batches, and of the events in them.
_ARRAYS, _GOOD_NEIGHBOURS, _BULKY = 0.4, 0.3, 0.02
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode

Progress = Callable[[int], None]


class Campaign:
    """One run of about `inputs` inputs, decided by `seed`."""

    def __init__(self, platform: Platform, tenant: Tenant, *, inputs: int, seed: int) -> None:
        self.ledger = Ledger()
        self._platform = platform
        self._tenant = tenant
        self._source = Source(seed)
        self._random = Random(seed + 1)
        self._plan = plan(inputs, events_of_a_batch=_EVENTS_OF_A_REQUEST, random=self._random)
        self._client = Client(platform, tenant, self.ledger)
        self._processes = platform.processes()
        self._started = time.monotonic()
        self._unfit: list[tuple[str, Input]] = []

    def run(self, progress: Progress = lambda _: None, settle_seconds: float = 60) -> dict[str, Any]:
        """Try all inputs, then look into the stores.

        Returns:
            The books, with the processes' peaks of memory.
        """
        for kind, family in self._plan:
            match kind:
                case "batch":
                    self._try_batch()
                case "single":
                    self._try_single(family)
                case "body":
                    self._try_body(family)
                case "request":
                    self._try_request(family)
                case _:
                    self._try_connection(family)
            progress(self.ledger.tried.total())
        return self.conclude(settle_seconds)

    def try_texts(self, family: str, texts: Sequence[bytes]) -> None:
        """Send texts of which nobody knows what becomes of them, in lines of one request."""
        inputs = [becomes(text) for text in texts if _fits(text, as_array=False)]
        if inputs:
            self._post(family, ndjson(inputs), [family] * len(inputs))

    def conclude(self, settle_seconds: float = 60) -> dict[str, Any]:
        """Wait until all is stored and indexed, look into the stores, and return the books."""
        sent = time.monotonic()
        stores = Stores(self._platform, self._tenant, self.ledger)
        stores.settle(settle_seconds)
        settled = time.monotonic()
        stores.check()
        read_back(self._client, self.ledger, self._random)
        if self._platform.processes() != self._processes:
            self.ledger.violate("a process died", "platform", (self._processes, self._platform.processes()))
        self._client.close()
        return self.ledger.report() | {
            "seconds": {"sending": round(sent - self._started, 1), "settling": round(settled - sent, 1)},
            "peak_memory_mib": self._platform.peak_memory(),
        }

    def _try_batch(self) -> None:
        """Good neighbours and inputs of all families in one request."""
        bulky = EVENT_FAMILIES.bulky
        names = sorted(set(EVENT_FAMILIES) - bulky)
        families: list[str] = []
        inputs: list[Input] = []
        size = 0
        as_array = self._random.random() < _ARRAYS
        while len(inputs) < _EVENTS_OF_A_REQUEST and size < _BYTES_OF_A_REQUEST:
            name = "valid" if self._random.random() < _GOOD_NEIGHBOURS else self._random.choice(names)
            if self._random.random() < _BULKY:
                name = self._random.choice(sorted(bulky))
            if not as_array and self._unfit:
                name, one = self._unfit.pop()
            else:
                one = EVENT_FAMILIES[name](self._source)
            if not _fits(one.raw, as_array=as_array):
                if as_array:  # it takes its place in the next lines
                    self._unfit.append((name, one))
                else:
                    self._post(name, single(one), [name])
                continue
            families.append(name)
            inputs.append(one)
            size += len(one.raw)
        self._post("batch", array(inputs) if as_array else ndjson(inputs), families)

    def _try_single(self, name: str) -> None:
        self._post(name, single(EVENT_FAMILIES[name](self._source)), [name])

    def _try_body(self, name: str) -> None:
        post = BODY_FAMILIES[name](self._source)
        self.ledger.tried[name] += 1
        self._post(name, post, [name] * len(post.events), count=False)

    def _try_request(self, name: str) -> None:
        call = REQUEST_FAMILIES[name](self._source, self._tenant.key)
        self.ledger.tried[name] += 1
        answer = self._client.send(call.request)
        # Some odd requests break HTTP itself, which the server answers before our code sees them.
        found = read_answer(self.ledger, name, answer, protocol=True)
        if answer.status and call.allowed and answer.status not in {*call.allowed, 400, 503}:
            self.ledger.violate("unexpected status", name, (answer.status, found, call.request[:500]))
        if call.changes and answer.status == 202:
            self.ledger.acknowledge(found["event_id"], b"", frozenset({STORED}), name)

    def _try_connection(self, name: str) -> None:
        stream = CONNECTION_FAMILIES[name](self._source, self._tenant.key)
        self.ledger.tried[name] += 1
        connection = Connection(self._platform.address)
        answer = connection.exchange(
            stream.pieces, half_close=stream.half_close, pause_seconds=stream.pause_seconds
        )
        connection.close()
        found = read_answer(self.ledger, name, answer, protocol=True)
        if answer.status not in {*stream.allowed, 503}:
            self.ledger.violate(
                "unexpected status", name, (answer.status, answer.body[:300], stream.pieces[0][:300])
            )
        if answer.status == 202 and stream.events:
            check_receipt(self.ledger, name, found, stream.events, [name] * len(stream.events))

    def _post(self, family: str, post: Post, families: Sequence[str], *, count: bool = True) -> None:
        if count:
            self.ledger.tried.update(families)
        answer = self._client.exchange(post.request(self._tenant.key))
        # A header may hold what HTTP itself forbids.
        found = read_answer(self.ledger, family, answer, protocol=not count)
        outcome = ACCEPTED if answer.status == 202 else found.get("code", "")
        if answer.status not in (0, 400, 503) and post.allowed and outcome not in post.allowed:
            self.ledger.violate(
                "unexpected answer",
                family,
                (outcome, sorted(post.allowed), str(found)[:300], post.body[:300]),
            )
        if answer.status == 202 or "rejected" in found:
            check_receipt(self.ledger, family, found, post.events, families)


def _fits(raw: bytes, *, as_array: bool) -> bool:
    """Whether an input can stand among others: in an array only what can be told apart, in a line only one line."""
    if not as_array:
        return b"\n" not in raw and bool(raw.strip(b" \t\r"))
    try:
        return len(_split(b"[1," + raw + b",1]")) == 3
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
