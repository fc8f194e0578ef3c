"""What the commands share that talk to a platform: its gateway's address, a token for it, and what it refuses."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from outlet.commands.console import needs_local
from outlet.local.errors import PlatformError
from outlet.local.roles import Role

TIMEOUT = 90.0
LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}


def send(
    url: str, token: str, method: str, path: str, *, client: httpx.Client | None = None, **request: Any
) -> httpx.Response:
    """One request with a bearer token; ``request`` is httpx's (json, content, params, headers).

    ``client`` is used when given: for many requests. Raises PlatformError when there is no answer, or an error.
    """
    headers = {"authorization": f"Bearer {token}", **request.pop("headers", {})}
    try:
        ask = httpx.request if client is None else client.request
        response = ask(method, f"{url.rstrip('/')}{path}", headers=headers, timeout=TIMEOUT, **request)
    except httpx.TransportError as error:
        raise PlatformError(
            f"no answer from {url}: {error}", "Is the platform up (outlet up)? Is --url right?"
        ) from error
    if response.is_error:
        raise _refused(response)
    return response


def local_token(
    url: str, directory: Path, role: Role, organization: str, *, lifetime: timedelta = timedelta(hours=1)
) -> str:
    """A token for the platform of this machine. Raises PlatformError for any other."""
    if urlsplit(url).hostname not in LOCAL_HOSTS:
        raise PlatformError("a token is needed", f"Give the token of a {role} with --token or OUTLET_TOKEN.")
    with needs_local():
        from outlet.local.issuer import Issuer
    return Issuer.open(directory / "issuer").token(role, organization, lifetime=lifetime)


def _refused(response: httpx.Response) -> PlatformError:
    """What a problem document (RFC 9457) says, or the status when the answer is none."""
    problem: dict[str, Any] = {}
    if "json" in response.headers.get("content-type", ""):
        problem = response.json()
    said = problem.get("detail") or problem.get("title") or response.reason_phrase
    found = "".join(f"\n  {error}" for error in problem.get("errors", ()))
    code = problem.get("code", "no problem document")
    return PlatformError(f"refused with {response.status_code} ({code}): {said}{found}", str(problem.get("remedy", "")))
