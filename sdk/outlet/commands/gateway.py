"""What the commands share that talk to a platform: its gateway's address, a token for it, and what it refuses."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from outlet.commands.console import needs_local
from outlet.local.errors import PlatformError
from outlet.local.roles import Role

TIMEOUT = 90.0
SERVICE_ACCOUNT_KEY = "outlet_sa_"
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
        raise _no_answer(url, error) from error
    if response.is_error:
        raise _refused(response)
    return response


@dataclass(frozen=True)
class Platform:
    """A gateway, and a token for it."""

    url: str
    token: str = field(repr=False)

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """As :func:`send`."""
        return send(self.url, self.token, method, path, **request)


def open_platform(
    url: str, token: str | None, organization: str | None, directory: Path, role: Role, *, whose: str
) -> Platform:
    """A platform with the token that was given, or one of this machine's for an organization.

    Raises PlatformError, which asks ``whose``, when there is neither.
    """
    if token is None:
        if organization is None:
            raise PlatformError(whose, "Give a token (--token, OUTLET_TOKEN) or, on this machine, --org.")
        token = local_token(url, directory, role, organization)
    return Platform(url, bearer(url, token))


@contextlib.contextmanager
def streamed(platform: Platform, path: str) -> Iterator[Iterator[bytes]]:
    """The parts of an answer of any length. Raises PlatformError as :func:`send` does, and when it breaks off."""
    headers = {"authorization": f"Bearer {platform.token}"}
    try:
        with httpx.stream("GET", f"{platform.url.rstrip('/')}{path}", headers=headers, timeout=TIMEOUT) as response:
            if response.is_error:
                response.read()
                raise _refused(response)
            yield response.iter_bytes()
    except httpx.TransportError as error:
        raise _no_answer(platform.url, error) from error


def bearer(url: str, token: str) -> str:
    """What to send as bearer token: ``token`` itself, or what the key of a service account is exchanged for.

    Raises PlatformError.
    """
    if not token.startswith(SERVICE_ACCOUNT_KEY):
        return token
    form = {"grant_type": "client_credentials", "client_secret": token}
    try:
        response = httpx.post(f"{url.rstrip('/')}/api/plugins/service-accounts/token", data=form, timeout=TIMEOUT)
    except httpx.TransportError as error:
        raise _no_answer(url, error) from error
    if response.is_error:
        raise _refused(response)
    return str(response.json()["access_token"])


def _no_answer(url: str, error: httpx.TransportError) -> PlatformError:
    return PlatformError(f"no answer from {url}: {error}", "Is the platform up (outlet up)? Is --url right?")


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
