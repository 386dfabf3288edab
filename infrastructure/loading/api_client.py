"""One conversation with the HTTP API: keeps trying while it is away or busy, and explains what it refuses."""

from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from infrastructure.loading.errors import ApiRefusalError
from infrastructure.loading.retrying import RetryPolicy
from infrastructure.loading.target import Target

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that say "later"."""

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


class ApiClient:
    """Asks the API; used by several threads at once, closed by leaving its ``with`` block.

    Every request may be sent more than once, so it must be one that does no harm when repeated.

    Args:
        target: where the API is, and the key.
        policy: for how long to go on trying.
        agent: how the requests name themselves.
        hints: what to do about a refusal, by HTTP status.
    """

    def __init__(
        self, target: Target, policy: RetryPolicy, *, agent: str, hints: dict[int, str] | None = None
    ) -> None:
        self._policy = policy
        self._hints = hints or {}
        self._client = httpx.Client(
            base_url=target.url,
            headers={"Authorization": f"Bearer {target.key}", "User-Agent": agent},
            timeout=_TIMEOUT,
            # A proxy from the environment is for the world outside, never for this machine's own API.
            trust_env=urlsplit(target.url).hostname not in {"127.0.0.1", "localhost", "::1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(self, method: str, path: str, **request: Any) -> httpx.Response:
        """Send a request, as of `httpx.Client.request`, until the API gives an answer that is not "later".

        Raises:
            LoadError: the API could not be reached, or was busy, for longer than the policy allows.
        """
        retries = self._policy.start()
        while True:
            try:
                response = self._client.request(method, path, **request)
            except httpx.RequestError as error:
                retries.wait(f"The API at {self._client.base_url} does not answer ({_cause(error)})")
                continue
            if response.status_code not in _PASSING:
                return response
            why = f"The API is busy ({response.status_code} {reason(response, json_object(response))})"
            retries.wait(why, response.headers.get("Retry-After"))

    def ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """As `request`; returns the JSON object of a successful answer.

        Raises:
            ApiRefusalError: the API refuses the request, or what answers is no SSPP API.
            LoadError: as in `request`.
        """
        response = self.request(method, path, **request)
        answer = json_object(response)
        if not response.is_success:
            raise self.refusal(response, answer)
        if not answer:
            raise ApiRefusalError("The answer is not that of an SSPP API; check SSPP_API_URL.")
        return answer

    def refusal(self, response: httpx.Response, problem: dict[str, Any]) -> ApiRefusalError:
        """What the API said in its `problem`, and what to do about it."""
        code = f" ({problem['code']})" if problem.get("code") else ""
        hint = self._hints.get(response.status_code, "")
        said = f"The API answered {response.status_code}{code}: {reason(response, problem)}. {hint}"
        return ApiRefusalError(said.rstrip())


def json_object(response: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object; an empty one where it is something else."""
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def reason(response: httpx.Response, problem: dict[str, Any]) -> str:
    """Why the API refused, in its own words, without the full stop."""
    said = problem.get("detail") or problem.get("title") or response.reason_phrase or "no reason given"
    return str(said).rstrip(".")


def _cause(error: httpx.RequestError) -> str:
    return str(error) or type(error).__name__
