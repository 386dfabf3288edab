"""A run: draw inputs from all families, send them, judge each answer, and at the end the stores."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from random import Random
from typing import Any
from urllib.parse import quote

import msgspec

from fuzzing import bodies, connections, events, requests
from fuzzing.bodies import ACCEPTED, Post
from fuzzing.draft import STORED, Input, Source, becomes
from fuzzing.ledger import Ledger, fingerprint
from fuzzing.oracle import check_codes, check_path, read_answer
from fuzzing.platform import Platform, Tenant
from fuzzing.stores import Stores
from fuzzing.wire import Answer, Connection, request_bytes

# Of so many inputs one is of this kind: an event costs microseconds, a connection of its own milliseconds.
_BODY_SHARE, _REQUEST_SHARE, _CONNECTION_SHARE, _SINGLE_SHARE = 0.01, 0.02, 0.001, 0.005
_MOST_BODIES, _MOST_BULKY_BODIES, _MOST_REQUESTS = 2000, 60, 3000
# Searches cost the embedded server a walk through all documents: they come while these are few.
_REQUESTS_BEFORE = 0.1
_BULKY_SHARE = 0.02
_EVENTS_OF_A_REQUEST, _BYTES_OF_A_REQUEST = 400, 6 * 1024 * 1024
_GOOD_NEIGHBOURS = 0.3
_READ_BACK, _SEARCHABLE = 200, 20_000
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode

Progress = Callable[[int], None]


class Campaign:
    """One run of about `inputs` inputs, decided by `seed`."""

    def __init__(self, platform: Platform, tenant: Tenant, *, inputs: int, seed: int) -> None:
        self.ledger = Ledger()
        self._platform = platform
        self._tenant = tenant
        self._inputs = inputs
        self._source = Source(seed)
        self._random = Random(seed + 1)
        self._connection = Connection(platform.address)
        self._processes = platform.processes()
        self._started = time.monotonic()
        self._unfit: list[tuple[str, Input]] = []

    def run(self, progress: Progress = lambda _: None, settle_seconds: float = 60) -> dict[str, Any]:
        """Try all inputs, then look into the stores.

        Returns:
            The books, with the processes' peaks of memory.
        """
        for step in self._steps():
            step()
            progress(self.ledger.tried.total())
        return self.conclude(settle_seconds)

    def try_texts(self, family: str, texts: Sequence[bytes]) -> None:
        """Send texts of which nobody knows what becomes of them, in lines of one request."""
        inputs = [becomes(text) for text in texts if _fits(text, as_array=False)]
        if inputs:
            self._post(family, bodies.ndjson(inputs), [family] * len(inputs))

    def conclude(self, settle_seconds: float = 60) -> dict[str, Any]:
        """Wait until all is stored and indexed, look into the stores, and return the books."""
        sent = time.monotonic()
        stores = Stores(self._platform, self._tenant, self.ledger)
        stores.settle(settle_seconds)
        settled = time.monotonic()
        stores.check()
        self._read_back()
        if self._platform.processes() != self._processes:
            self.ledger.violate("a process died", "platform", (self._processes, self._platform.processes()))
        self._connection.close()
        return self.ledger.report() | {
            "seconds": {"sending": round(sent - self._started, 1), "settling": round(settled - sent, 1)},
            "peak_memory_mib": self._platform.peak_memory(),
        }

    def _steps(self) -> Iterator[Callable[[], None]]:
        """What to do, in a mixed order, until enough was tried; rare families come in turn so that all do."""
        single_cycle = cycle(sorted(events.EVENT_FAMILIES))
        turns: dict[str, Iterator[str]] = {
            "body": cycle(self._shuffled(set(bodies.BODY_FAMILIES) - bodies.BULKY)),
            "bulky": cycle(self._shuffled(bodies.BULKY)),
            "request": cycle(self._shuffled(requests.REQUEST_FAMILIES)),
            "connection": cycle(self._shuffled(connections.CONNECTION_FAMILIES)),
        }
        counts = {
            "body": min(_MOST_BODIES, self._inputs * _BODY_SHARE),
            "bulky": min(
                _MOST_BULKY_BODIES, max(len(bodies.BULKY), self._inputs * _BODY_SHARE * _BULKY_SHARE)
            ),
            "request": min(_MOST_REQUESTS, self._inputs * _REQUEST_SHARE),
            "connection": max(len(connections.CONNECTION_FAMILIES), self._inputs * _CONNECTION_SHARE),
            "single": self._inputs * _SINGLE_SHARE,
            "batch": self._inputs * (1 - _SINGLE_SHARE) / _EVENTS_OF_A_REQUEST,
        }
        plan = [kind for kind, count in counts.items() for _ in range(max(1, round(count)))]
        plan.sort(key=lambda kind: self._random.random() * (_REQUESTS_BEFORE if kind == "request" else 1))
        for kind in plan:
            match kind:
                case "batch":
                    yield self._try_batch
                case "single":
                    name = next(single_cycle)
                    yield lambda name=name: self._try_single(name)
                case "body" | "bulky":
                    name = next(turns[kind])
                    yield lambda name=name: self._try_body(name)
                case "request":
                    name = next(turns[kind])
                    yield lambda name=name: self._try_request(name)
                case _:
                    name = next(turns[kind])
                    yield lambda name=name: self._try_connection(name)

    def _try_batch(self) -> None:
        """Good neighbours and inputs of all families in one request."""
        names = sorted(set(events.EVENT_FAMILIES) - events.BULKY)
        families: list[str] = []
        inputs: list[Input] = []
        size = 0
        as_array = self._random.random() < 0.4
        while len(inputs) < _EVENTS_OF_A_REQUEST and size < _BYTES_OF_A_REQUEST:
            name = "valid" if self._random.random() < _GOOD_NEIGHBOURS else self._random.choice(names)
            if self._random.random() < _BULKY_SHARE:
                name = self._random.choice(sorted(events.BULKY))
            if not as_array and self._unfit:
                name, one = self._unfit.pop()
            else:
                one = events.EVENT_FAMILIES[name](self._source)
            if not _fits(one.raw, as_array=as_array):
                if as_array:  # it takes its place in the next lines
                    self._unfit.append((name, one))
                else:
                    self._post(name, bodies.single(one), [name])
                continue
            families.append(name)
            inputs.append(one)
            size += len(one.raw)
        self._post("batch", bodies.array(inputs) if as_array else bodies.ndjson(inputs), families)

    def _try_single(self, name: str) -> None:
        self._post(name, bodies.single(events.EVENT_FAMILIES[name](self._source)), [name])

    def _try_body(self, name: str) -> None:
        post = bodies.BODY_FAMILIES[name](self._source)
        self.ledger.tried[name] += 1
        self._post(name, post, [name] * len(post.events), count=False)

    def _try_request(self, name: str) -> None:
        call = requests.REQUEST_FAMILIES[name](self._source, self._tenant.key)
        self.ledger.tried[name] += 1
        answer = self._connection.exchange(call.request)
        # Some odd requests break HTTP itself, which the server answers before our code sees them.
        found = read_answer(self.ledger, name, answer, protocol=True)
        if answer.status and call.allowed and answer.status not in {*call.allowed, 400, 503}:
            self.ledger.violate("unexpected status", name, (answer.status, found, call.request[:500]))
        if call.changes and answer.status == 202:
            self.ledger.acknowledge(found["event_id"], b"", frozenset({STORED}), name)

    def _try_connection(self, name: str) -> None:
        stream = connections.CONNECTION_FAMILIES[name](self._source, self._tenant.key)
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
            self._receipt(name, found, stream.events, [name] * len(stream.events))

    def _post(self, family: str, post: Post, families: Sequence[str], *, count: bool = True) -> None:
        if count:
            self.ledger.tried.update(families)
        answer = self._exchange(post.request(self._tenant.key))
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
            self._receipt(family, found, post.events, families)

    def _receipt(
        self, family: str, found: dict[str, Any], sent: Sequence[Input], families: Sequence[str]
    ) -> None:
        """Every event of a request is either acknowledged or refused, and none of them twice."""
        refused = {int(each["index"]): each for each in found.get("rejected", ())}
        accepted = [index for index in range(len(sent)) if index not in refused]
        event_ids = found.get("event_ids")
        if event_ids is None:  # the client asked to leave them out
            event_ids = [_event_id(sent[index].raw) for index in accepted]
        if int(found.get("accepted", 0)) != len(accepted) or len(event_ids) != len(accepted):
            self.ledger.violate(
                "receipt does not add up", family, (len(sent), len(accepted), found.get("accepted"))
            )
            return
        for index, refusal in refused.items():
            if sent:
                check_codes(self.ledger, families[index], refusal["code"], sent[index], index)
                check_path(
                    self.ledger,
                    families[index],
                    refusal["code"],
                    refusal["path"],
                    refusal["detail"],
                    sent[index].raw,
                )
        for index, event_id in zip(accepted, event_ids, strict=True):
            one, name = sent[index], families[index]
            if one.allowed is not None and not one.allowed - {
                "invalid_json",
                "event_too_large",
                "nesting_too_deep",
            }:
                self.ledger.violate("wrongly accepted", name, (sorted(one.allowed), one.raw[:300]))
            self.ledger.acknowledge(event_id, _bare(one.raw), one.allowed, name)

    def _exchange(self, request: bytes) -> Answer:
        """Send a request as a sane client does: again after a while, if the server says that it is busy."""
        for _ in range(60):
            answer = self._connection.exchange(request)
            if answer.status not in (429, 503):
                break
            self.ledger.shed += 1
            time.sleep(min(2.0, float(answer.headers.get("retry-after", "1"))))
        return answer

    def _read_back(self) -> None:
        """Ask the API for some of the events, and walk its lists: each shows what was sent, to the byte."""
        known = sorted(self.ledger.acknowledged)
        for event_id in self._random.sample(known, min(_READ_BACK, len(known))):
            sent = {each.fingerprint for each in self.ledger.acknowledged[event_id] if each.excerpt}
            target = f"/v1/events/{quote(event_id, safe='')}"
            answer = self._get(target)
            shown = (
                msgspec.json.decode(answer.body, type=dict[str, msgspec.Raw]) if answer.status == 200 else {}
            )
            if answer.status != 200 or (sent and fingerprint(bytes(shown["event"])) not in sent):
                self.ledger.violate(
                    "not shown as sent", "reading", (event_id, answer.status, answer.body[:300])
                )
        for path in ("/v1/signals", "/v1/customers", "/v1/rejected"):
            self._walk(path, most_pages=20)
        # Not searched: a walk through hundreds of thousands of documents is beyond the embedded server's patience.
        if len(known) < _SEARCHABLE:
            self._walk("/v1/search", most_pages=2)

    def _walk(self, path: str, *, most_pages: int) -> None:
        cursor, seen = "", 0
        for _ in range(most_pages):
            answer = self._get(f"{path}?limit=100{cursor}")
            found = read_answer(self.ledger, f"pages of {path}", answer)
            if answer.status != 200:
                self.ledger.violate(
                    "list broken", f"pages of {path}", (seen, answer.status, answer.body[:300])
                )
                return
            seen += len(found["items"])
            if found["next_cursor"] is None:
                return
            cursor = f"&cursor={found['next_cursor']}"

    def _get(self, target: str) -> Answer:
        headers = (("authorization", f"Bearer {self._tenant.key}"),)
        return self._exchange(request_bytes("GET", target, headers))

    def _shuffled(self, names: Any) -> list[str]:
        ordered = sorted(names)
        self._random.shuffle(ordered)
        return ordered


def _bare(raw: bytes) -> bytes:
    """The event as the platform understands it: without the white space around it, and a body's byte order mark."""
    return raw.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n")


def _fits(raw: bytes, *, as_array: bool) -> bool:
    """Whether an input can stand among others: in an array only what can be told apart, in a line only one line."""
    if not as_array:
        return b"\n" not in raw and bool(raw.strip(b" \t\r"))
    try:
        return len(_split(b"[1," + raw + b",1]")) == 3
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _event_id(raw: bytes) -> str:
    return str(msgspec.json.decode(raw)["event_id"])
