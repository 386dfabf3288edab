"""Every error answer of the API: RFC 9457 problem details, whatever went wrong and wherever."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from msgspec import UNSET, Meta, UnsetType
from starlette.exceptions import HTTPException

from common.errors import InvalidEventError, SsppError, TransientError

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2

_log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode
_MISFIT = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
_INDEX = re.compile(r"\[(\d+)\]")


class Fault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with a request."""

    detail: str
    parameter: Annotated[str, Meta(description="The parameter of path, query or header.")] | UnsetType = UNSET
    pointer: (
        Annotated[str, Meta(description="JSON Pointer (RFC 6901) to the place in the body.")] | UnsetType
    ) = UNSET


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """Problem details, RFC 9457. `code` is stable and for machines, `detail` is for people."""

    type: Annotated[str, Meta(examples=["urn:sspp:problem:not_found"])]
    title: Annotated[str, Meta(examples=["Not found"])]
    status: Annotated[int, Meta(examples=[404])]
    detail: Annotated[str, Meta(examples=["no signal has this id"])]
    code: Annotated[str, Meta(examples=["not_found"])]
    instance: Annotated[
        str,
        Meta(
            description="The request, as its log lines name it.",
            examples=["urn:sspp:request:019aa5c0-7b1e-7c11-9d0f-6a7ce2d1f3b4"],
        ),
    ]
    errors: list[Fault] | UnsetType = UNSET


class ProblemError(SsppError):
    """A request that is answered with a problem.

    `code` is stable and for machines, `detail` for people; `status` is the HTTP status. `headers` are added to
    the answer, `members` to the problem (RFC 9457, section 3.2).
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code  # type: ignore[misc]  # one class carries all codes of the API
        self.headers = dict(headers or {})
        self.members = members


class ShedError(ProblemError):
    """A request that is turned away because of overload: nothing is wrong with it, it comes too early.

    `retry_after` says when to come back, in seconds.
    """

    def __init__(self, status: int, code: str, detail: str, *, retry_after: int) -> None:
        super().__init__(status, code, detail, headers={"Retry-After": str(retry_after)})


def not_found(what: str) -> ProblemError:
    """The 404 for a thing that does not exist, or not for this tenant: nobody learns which."""
    return ProblemError(404, "not_found", what)


def invalid_parameter(parameter: str, detail: str) -> ProblemError:
    """The 422 for a parameter whose value cannot be used."""
    fault = Fault(detail, parameter=parameter)
    return ProblemError(422, "invalid_request", f"{parameter}: {detail}", errors=[fault])


def invalid_body(error: msgspec.DecodeError) -> ProblemError:
    """The 422 for a JSON body that msgspec refused, with a JSON Pointer to the place."""
    match = _MISFIT.fullmatch(str(error))
    detail, where = match.groups(default="") if match else (str(error), "")
    detail = detail.replace("`", "'")
    pointer = _INDEX.sub(r"/\1", where).replace(".", "/")
    return ProblemError(422, "invalid_request", detail, errors=[Fault(detail, pointer=pointer)])


def problem_response(error: ProblemError, request_id: str) -> Response:
    """`error` as an HTTP answer."""
    problem = {
        "type": f"urn:sspp:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "instance": f"urn:sspp:request:{request_id}",
        **error.members,
    }
    return Response(_encode(problem), error.status, error.headers, PROBLEM_TYPE)


def as_problem(error: Exception) -> ProblemError:
    """Any failure as the problem that the client may see; what is nobody's business becomes a bare 500."""
    match error:
        case ProblemError():
            return error
        case TransientError():
            return ProblemError(
                503, error.code, error.detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}
            )
        case InvalidEventError():
            return ProblemError(
                422, error.code, error.detail, errors=[Fault(error.detail, pointer=error.path)]
            )
        case RequestValidationError():
            faults = [_fault(problem) for problem in error.errors()]
            named = "; ".join(f"{f.parameter or f.pointer or 'body'}: {f.detail}" for f in faults)
            return ProblemError(422, "invalid_request", named, errors=faults)
        case HTTPException():
            phrase = HTTPStatus(error.status_code).phrase
            code = re.sub(r"\W+", "_", phrase.lower())
            return ProblemError(error.status_code, code, str(error.detail), headers=error.headers)
        case _:
            detail = "something went wrong on our side; quote the instance when you report it"
            return ProblemError(500, "internal_error", detail)


EXPECTED_ERRORS = (ProblemError, TransientError, InvalidEventError, RequestValidationError, HTTPException)
"""What a route may raise to be answered with a problem."""


def install_error_handlers(app: FastAPI) -> None:
    """Answer every expected failure of `app` with a problem; the unexpected is `RequestContext`'s."""

    async def handle(request: Request, error: Exception) -> Response:
        return answer_error(request, error)

    for kind in EXPECTED_ERRORS:
        app.add_exception_handler(kind, handle)


def answer_error(request: Request, error: Exception) -> Response:
    """The answer to a request that failed with one of `EXPECTED_ERRORS`, and its log line."""
    problem = as_problem(error)
    if "expect" in request.headers:
        # The client asked whether to send its body, and the answer is no: it may keep the body to itself, but
        # then this connection cannot carry another request.
        problem.headers["Connection"] = "close"
    if isinstance(problem, ShedError):
        pass  # it is counted: a flood of requests must not become a flood of lines
    elif problem.status >= 500:
        _log.warning("request_failed", code=problem.code, detail=problem.detail)
    else:  # the detail may quote what was sent
        _log.info("request_refused", status=problem.status, code=problem.code)
    return problem_response(problem, request.scope["request_id"])


def _fault(problem: Mapping[str, Any]) -> Fault:
    place, *rest = problem["loc"]
    detail = str(problem["msg"]).removeprefix("Value error, ")
    if place == "body":
        return Fault(detail, pointer="".join(f"/{step}" for step in rest))
    return Fault(detail, parameter=str(rest[0]) if rest else str(place))
