"""What tests of the whole platform share: its environment, its doors, and looking at what it has done so far."""

import asyncio
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import asyncpg
import httpx
import psutil

from outlet.local.roles import Role
from outlet.local.stack import Stack
from outlet.local.waiting import NotInTime, until


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment with these ``OUTLET_`` settings in place of the caller's own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTLET_")}
    return own | dict(settings or {})


class Caller:
    """The people of one organization at the gateway. Answers come back as they are, problems included."""

    def __init__(self, stack: Stack, organization: str) -> None:
        self._stack = stack
        self.organization = organization
        self._http = httpx.AsyncClient(base_url=stack.gateway_url, timeout=30)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _: BaseException | None, _at: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        role: Role = "owner",
        store: str | None = None,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> httpx.Response:
        """One request; ``headers`` may bring another Authorization, ``request`` is httpx's (json, content, params)."""
        authorization = f"Bearer {self._stack.issuer.token(role, self.organization, store=store)}"
        return await self._http.request(
            method, path, headers={"authorization": authorization, **(headers or {})}, **request
        )

    async def read(self, installation_id: str, *, role: Role = "owner") -> dict[str, Any]:
        """An installation's details."""
        answer = await self.ask("GET", f"/api/plugins/{installation_id}", role=role)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document (RFC 9457) of an answer, which must have this status and this stable code."""
    assert (answer.status_code, answer.headers.get("content-type")) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]
    assert problem["remedy"]
    return problem


async def committed_hooks(stack: Stack, installation_id: str) -> int:
    """How many hooks of an installation are durable with their effects, whatever Kafka's offsets say."""
    connection = await asyncpg.connect(stack.database_urls["runtime"])
    try:
        return int(
            await connection.fetchval(
                "SELECT count(*) FROM inbox WHERE installation_id = $1 AND target = 'sale.created'", installation_id
            )
        )
    finally:
        await connection.close()


async def until_committed(stack: Stack, installation_id: str, count: int, *, within: float = 60.0) -> int:
    """Wait until at least so many hooks of an installation are durable; how many it were then."""
    found = 0

    async def enough() -> bool:
        nonlocal found
        found = await committed_hooks(stack, installation_id)
        return found >= count

    await until(enough, within=within, what=f"{count} hooks of {installation_id} are committed")
    return found


async def until_ready(stack: Stack, service: str, index: int = 0, *, within: float = 60.0) -> None:
    """Wait until a process of a service is ready again after its death."""
    try:
        async with asyncio.timeout(within):
            await stack.ready(service, index)
    except TimeoutError:
        raise NotInTime(f"process {index} of {service} is ready again: not within {within:g} s") from None


def zygotes(worker: int) -> list[psutil.Process]:
    """The processes that fork plugins for the worker with this pid."""
    return [
        child
        for child in psutil.Process(worker).children()
        if any(argument.endswith("zygote.py") for argument in child.cmdline())
    ]
