"""One family of expected failures, and their shape on the wire: problem details (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.telemetry import current_request_id

MEDIA_TYPE = "application/problem+json"

log = structlog.get_logger(__name__)


class OutletError(Exception):
    """A failure that a caller can understand and act on.

    ``status`` is the HTTP status, ``code`` a stable name for programs, ``remedy`` what the caller can do;
    ``members`` are added to the problem document as they are.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    remedy: ClassVar[str] = "Try again; report it with the request id when it stays."

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        remedy: str | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem_code = code or self.code
        self.problem_remedy = remedy or self.remedy
        self.headers = dict(headers or {})
        self.members = members


class BadRequest(OutletError):
    status = 400
    code = "bad_request"
    remedy = "Correct the request and send it again."


class Unauthenticated(OutletError):
    status = 401
    code = "unauthenticated"
    remedy = "Send a valid token: Authorization: Bearer <token>."


class Forbidden(OutletError):
    status = 403
    code = "forbidden"
    remedy = "Ask an owner or admin of the organization."


class NotFound(OutletError):
    status = 404
    code = "not_found"
    remedy = "Check the address and the id."


class Conflict(OutletError):
    status = 409
    code = "conflict"
    remedy = "Read the present state and decide again."


class TooLarge(OutletError):
    status = 413
    code = "body_too_large"
    remedy = "Send a smaller body, or several requests."


class Unprocessable(OutletError):
    status = 422
    code = "invalid"
    remedy = "Correct the members listed in errors."


class TooManyRequests(OutletError):
    status = 429
    code = "rate_limited"
    remedy = "Wait for as long as Retry-After says, then try again."


class BadGateway(OutletError):
    status = 502
    code = "plugin_failed"
    remedy = "The plugin failed; its author finds the details in the installation's errors."


class Unavailable(OutletError):
    status = 503
    code = "unavailable"
    remedy = "Try again in a moment; nothing was changed."


class GatewayTimeout(OutletError):
    status = 504
    code = "timeout"
    remedy = "Try again; the work may or may not have been done."


_HTTP_CODES = {
    404: (NotFound.code, NotFound.remedy),
    405: ("method_not_allowed", "Use one of the methods in the Allow header."),
    413: (TooLarge.code, TooLarge.remedy),
}


def problem(
    status: int, code: str, detail: str, remedy: str, headers: Mapping[str, str] | None = None, **members: Any
) -> JSONResponse:
    """A problem-details response. ``instance`` carries the request id, so that a report can be traced."""
    body = {
        "type": f"urn:outlet:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "remedy": remedy,
        "instance": f"urn:outlet:request:{current_request_id()}",
        **members,
    }
    return JSONResponse(body, status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def install_error_handlers(app: FastAPI) -> None:
    """Answer every expected failure of ``app`` as problem details."""
    app.add_exception_handler(OutletError, _expected)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)


async def _expected(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OutletError)  # noqa: S101  registered for this class
    return problem(error.status, error.problem_code, error.detail, error.problem_remedy, error.headers, **error.members)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    errors = [{"path": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
    return problem(
        422, "invalid_request", "The request does not have the expected shape.", Unprocessable.remedy, errors=errors
    )


async def _http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    if isinstance(error.__cause__, UnicodeDecodeError):  # FastAPI answers 400 to this, and 422 to any other broken JSON
        return problem(422, "invalid_request", "The body is not UTF-8.", Unprocessable.remedy, errors=[])
    code, remedy = _HTTP_CODES.get(error.status_code, ("http_error", BadRequest.remedy))
    return problem(error.status_code, code, str(error.detail), remedy, error.headers)


class UnexpectedErrorMiddleware:
    """Answer what nobody foresaw with a 500 that tells nothing, and log it whole.

    It stands inside the other middleware, so that this answer too carries their headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, noting_start)
        except Exception as error:
            log.error("request failed", path=scope["path"], method=scope["method"], exc_info=error)
            if started:
                raise
            response = problem(500, OutletError.code, "The service failed unexpectedly.", OutletError.remedy)
            await response(scope, receive, send)
