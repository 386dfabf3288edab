"""Sending events to the API until it has answered for each of them."""

import gzip
from collections.abc import Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from infrastructure.loading.api_client import ApiClient, json_object, reason
from infrastructure.loading.errors import ApiRefusalError
from infrastructure.loading.readers import Event
from infrastructure.loading.report import Outcome, Rejection
from infrastructure.loading.retrying import RetryPolicy
from infrastructure.loading.target import Target

_LEAST_LIMIT = 64 * 1024

_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Check SSPP_API_KEY.",
    HTTPStatus.FORBIDDEN: "The scopes of the key do not allow this: loading needs ingest, --wait read.",
    HTTPStatus.NOT_FOUND: "Check SSPP_API_URL.",
}


class Sender:
    """Posts events; used by several threads at once, closed by leaving its ``with`` block.

    `limit_bytes` is the size that a batch should stay below, uncompressed. It starts at `limit_bytes` and
    falls when the API finds a request too large.
    """

    def __init__(self, target: Target, policy: RetryPolicy, *, limit_bytes: int = 4 * 1024 * 1024) -> None:
        self.limit_bytes = limit_bytes
        # Sending again is safe even after an unclear 5xx, as every event has its id.
        self._api = ApiClient(target, policy, agent="sspp-load", hints=_HINTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.close()

    def send(self, events: Sequence[Event]) -> Outcome:
        """Post `events` (at least one) and return what became of each.

        A request that is too large is halved until it passes; one event that is too large alone is refused.

        Raises:
            ApiRefusalError: the API refuses the request for a reason that is not one event's.
            LoadError: the API could not be reached, or was busy, for longer than the policy allows.
        """
        body = b"\n".join(event.body for event in events)
        response = self._api.request(
            "POST",
            "/v1/events",
            content=gzip.compress(body, compresslevel=3, mtime=0),
            headers={
                "Content-Type": "application/x-ndjson",
                "Content-Encoding": "gzip",
                "Prefer": "return=minimal",
            },
        )
        answer = json_object(response)
        if response.status_code == HTTPStatus.ACCEPTED:
            return _outcome(events, answer)
        if response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY and answer.get("rejected"):
            return _outcome(events, answer | {"accepted": 0})  # each event was looked at, and none was good
        if response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(events) > 1:
            self.limit_bytes = max(_LEAST_LIMIT, min(self.limit_bytes, len(body) // 2))
            middle = len(events) // 2
            return self.send(events[:middle]) + self.send(events[middle:])
        if response.status_code in {413, 422} and len(events) == 1:
            code = str(answer.get("code") or response.status_code)
            return Outcome(0, (Rejection(events[0].row, code, reason(response, answer)),))
        raise self._api.refusal(response, answer)

    def is_stored(self, event_id: str) -> bool:
        """Whether the platform has stored (or finally refused) the event.

        Raises:
            LoadError: as in `send`.
        """
        response = self._api.request("GET", f"/v1/events/{quote(event_id, safe='')}")
        if response.status_code == HTTPStatus.NOT_FOUND:
            return False
        if response.status_code == HTTPStatus.OK:
            return True
        raise self._api.refusal(response, json_object(response))


def _outcome(events: Sequence[Event], answer: dict[str, Any]) -> Outcome:
    try:
        rejected = {
            int(each["index"]): (str(each["code"]), str(each["detail"])) for each in answer["rejected"]
        }
        refused = tuple(Rejection(events[index].row, *said) for index, said in sorted(rejected.items()))
        accepted = int(answer["accepted"])
    except (KeyError, TypeError, ValueError, IndexError):
        raise ApiRefusalError("The answer is not that of an SSPP API; check SSPP_API_URL.") from None
    last = next((index for index in reversed(range(len(events))) if index not in rejected), None)
    return Outcome(accepted, refused, None if last is None else events[last].event_id)
