"""From what a route returned or raised to the response on the wire."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from outlet._calls import MAX_HEADERS, RouteResult
from outlet._errors import Problem
from outlet._guest.routing import MethodNotAllowed, RouteNotFound
from outlet._requests import Response


class BadResult(Exception):
    """A handler returned something that is no answer."""


def respond(value: Any) -> RouteResult:
    """The response for what a route returned. Raises :class:`BadResult`."""
    if isinstance(value, dict | list):
        value = Response(value)
    if not isinstance(value, Response):
        raise BadResult(f"the route returned {type(value).__name__}; return a dict, a list or an outlet.Response")
    if type(value.status) is not int or not 200 <= value.status <= 599:
        raise BadResult(f"the route returned status {value.status!r:.40}; it must be 200 to 599")
    content_type, body = _body(value.body)
    headers = _headers(value.headers)
    if content_type and not any(name == "content-type" for name, _ in headers):
        headers.append(("content-type", content_type))
    return RouteResult(value.status, headers, body)


def refuse(problem: Problem | RouteNotFound | MethodNotAllowed) -> RouteResult:
    """The problem document (RFC 9457) for a refused request."""
    if isinstance(problem, MethodNotAllowed):
        return _problem(405, "method_not_allowed", str(problem), [("allow", ", ".join(problem.allowed))])
    if isinstance(problem, RouteNotFound):
        return _problem(404, "route_not_found", str(problem), [])
    return _problem(problem.status, problem.code, problem.detail, [])


def _problem(status: int, code: str, detail: str, headers: list[tuple[str, str]]) -> RouteResult:
    try:
        title = HTTPStatus(status).phrase
    except ValueError:
        title = "Problem"
    document = {
        "type": f"urn:outlet:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "source": "plugin",
    }
    try:
        body = msgspec.json.encode(document)
    except (TypeError, ValueError) as error:
        raise BadResult(f"the problem cannot be written as JSON: {error}") from error
    return RouteResult(status, [*headers, ("content-type", "application/problem+json")], body, undo=True)


def _body(body: Any) -> tuple[str | None, bytes]:
    if body is None:
        return None, b""
    if isinstance(body, bytes):
        return "application/octet-stream", body
    if isinstance(body, str):
        return "text/plain; charset=utf-8", body.encode()
    try:
        return "application/json", msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadResult(f"the route returned something that is not JSON: {error}") from error


def _headers(headers: Any) -> list[tuple[str, str]]:
    if not isinstance(headers, Mapping):
        raise BadResult(f"the route returned headers that are no mapping but {type(headers).__name__}")
    if len(headers) >= MAX_HEADERS:  # content-type may be added
        raise BadResult(f"the route returned {len(headers)} headers; fewer than {MAX_HEADERS} are allowed")
    pairs = []
    for name, value in headers.items():
        if not (isinstance(name, str) and isinstance(value, str)) or any(c in "\r\n\0" for c in name + value):
            raise BadResult(f"header {name!r:.60}: name and value must be text without line breaks")
        pairs.append((name.lower(), value))
    return pairs
