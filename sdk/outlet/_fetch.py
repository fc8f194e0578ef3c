"""Requests to the outside, made by the platform on the plugin's behalf."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from outlet import _json
from outlet._errors import ApiError

Call = Callable[[str, dict[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Secret:
    """A setting that its schema marks ``"format": "secret"``: the plugin can use it, and never sees it.

    Its text stands for the value in headers of :meth:`outlet.Api.fetch`: ``{"Authorization": f"Bearer {secret}"}``.
    """

    name: str

    def __str__(self) -> str:
        return f"{{{{secret:{self.name}}}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResponse:
    """The answer to :meth:`outlet.Api.fetch`.

    The names of ``headers`` are in lower case, values of a repeated one are joined by ``", "``. ``body`` is
    decompressed; ``url`` is where the answer came from, after redirects.
    """

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status <= 299

    def text(self) -> str:
        """The body as UTF-8; what is none is replaced."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body as JSON; a number with a fraction is a Decimal. Raises ValueError when it is none."""
        return _json.decode(self.body)


async def fetch(
    call: Call,
    url: str,
    *,
    method: str,
    headers: Mapping[str, str | Secret] | None,
    body: bytes | str | None,
    json: Any,
    timeout: float | None,  # noqa: ASYNC109  the platform keeps the time
    follow_redirects: bool,
) -> FetchResponse:
    """Do one request. See :meth:`outlet.Api.fetch`."""
    sent = {name: str(value) for name, value in (headers or {}).items()}
    if json is not None:
        if body is not None:
            raise ApiError("invalid_argument", "a request has a body or json, not both")
        body = _encoded(json)
        if not any(name.lower() == "content-type" for name in sent):
            sent["content-type"] = "application/json"
    arguments = {
        "url": url,
        "method": method.upper(),
        "headers": sent,
        "body": body.encode() if isinstance(body, str) else body or b"",
        "timeout": None if timeout is None else float(timeout),
        "follow_redirects": follow_redirects,
    }
    answer = await call("fetch.send", arguments)
    content, more = [answer["body"]], answer["more"]
    while more:
        rest = await call("fetch.rest", {"id": answer["id"]})
        content.append(rest["body"])
        more = rest["more"]
    return FetchResponse(
        status=answer["status"], url=answer["url"], headers=_joined(answer["headers"]), body=b"".join(content)
    )


def _encoded(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ApiError("invalid_argument", f"json: {error}") from error


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined
