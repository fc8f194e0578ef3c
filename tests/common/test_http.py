from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI, Request

from services.common.errors import Conflict
from services.common.http import create_app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.readiness["directory"] = lambda: app.state.caught_up
        yield

    app = create_app("test", lifespan, body_limit=100)
    app.state.caught_up = True

    @app.get("/secret")
    async def fail() -> None:
        raise RuntimeError("password=hunter2")

    @app.get("/conflict")
    async def refuse() -> None:
        raise Conflict("It is taken.", code="taken", holder="somebody")

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    @app.get("/number/{value}")
    async def number(value: int) -> int:
        return value

    app.state.app = app
    async with (
        lifespan_of(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as opened,
    ):
        opened.app = app  # type: ignore[attr-defined]
        yield opened


@asynccontextmanager
async def lifespan_of(app: FastAPI) -> AsyncIterator[None]:
    async with app.router.lifespan_context(app):
        yield


async def test_an_expected_failure_is_a_problem_that_says_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await client.get("/conflict", headers={"X-Request-Id": "request-1"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"] == "request-1"
    assert answer.json() == {
        "type": "urn:outlet:problem:taken",
        "title": "Conflict",
        "status": 409,
        "code": "taken",
        "detail": "It is taken.",
        "remedy": Conflict.remedy,
        "instance": "urn:outlet:request:request-1",
        "holder": "somebody",
    }


async def test_an_unexpected_failure_tells_nothing_and_still_carries_the_request_id(client: httpx.AsyncClient) -> None:
    answer = await client.get("/secret", headers={"X-Request-Id": "request-2"})
    assert answer.status_code == 500
    assert answer.headers["X-Request-Id"] == "request-2"
    assert answer.json()["code"] == "internal_error"
    assert "hunter2" not in answer.text


async def test_a_malformed_request_id_is_replaced(client: httpx.AsyncClient) -> None:
    answer = await client.get("/conflict", headers={"X-Request-Id": "a b"})
    assert len(answer.headers["X-Request-Id"]) == 36


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit_is_refused_announced_or_not(client: httpx.AsyncClient, announced: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 10

    answer = await client.post("/echo", content=b"x" * 101 if announced else chunks())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert (await client.post("/echo", content=b"x" * 100)).json() == 100


async def test_wrong_addresses_methods_and_values_are_problems_too(client: httpx.AsyncClient) -> None:
    assert (await client.get("/nowhere")).json()["code"] == "not_found"
    assert (await client.delete("/conflict")).json()["code"] == "method_not_allowed"
    assert (await client.get("/number/x")).json()["errors"][0]["path"] == "path.value"


async def test_readiness_names_the_check_that_does_not_hold(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health/ready")).status_code == 200
    client.app.state.caught_up = False  # type: ignore[attr-defined]
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["checks"]) == (503, {"directory": False})
    assert (await client.get("/health/live")).status_code == 200
