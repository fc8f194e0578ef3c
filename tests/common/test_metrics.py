"""What every HTTP service counts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

from services.common.directory import Directory
from services.common.http import create_app
from services.common.metrics import watch_directory

OPEN_METRICS = {"accept": "application/openmetrics-text;version=1.0.0"}


def service() -> tuple[FastAPI, Directory]:
    """A service that follows a directory."""
    directory = Directory()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = create_app("test", lifespan)
    watch_directory(app.state.metrics, directory)

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        if name == "broken":
            raise RuntimeError
        return name

    return app, directory


def client(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test")


async def lines(asking: httpx.AsyncClient, start: str) -> list[str]:
    answer = await asking.get("/metrics")
    assert answer.status_code == 200
    return [line for line in answer.text.splitlines() if line.startswith(start)]


async def test_requests_are_counted_by_method_and_kind_of_answer_alone() -> None:
    app, _ = service()
    async with client(app) as asking:
        for path in ("/things/1", "/things/2", "/nothing/3", "/things/broken"):
            await asking.get(path)
        await asking.request("BREW", "/things/1")
        assert await lines(asking, "outlet_http_requests_total") == [
            'outlet_http_requests_total{method="GET",status="2xx"} 2.0',
            'outlet_http_requests_total{method="GET",status="4xx"} 1.0',
            'outlet_http_requests_total{method="GET",status="5xx"} 1.0',
            'outlet_http_requests_total{method="other",status="4xx"} 1.0',
        ]
        assert await lines(asking, "outlet_http_request_seconds_count") == ["outlet_http_request_seconds_count 6.0"]


async def test_the_directory_and_the_process_are_shown() -> None:
    app, directory = service()
    directory.advance(41)
    async with client(app) as asking:
        assert await lines(asking, "outlet_directory_revision") == ["outlet_directory_revision 41.0"]
        assert len(await lines(asking, "process_resident_memory_bytes ")) == 1


async def test_two_services_of_one_process_count_apart() -> None:
    (first, _), (second, _) = service(), service()
    async with client(first) as asking, client(second) as other:
        await asking.get("/things/1")
        assert await lines(other, "outlet_http_requests_total") == []


async def test_openmetrics_is_spoken_where_it_is_understood() -> None:
    app, _ = service()
    async with client(app) as asking:
        answer = await asking.get("/metrics", headers=OPEN_METRICS)
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
