"""Stand-ins for what surrounds the gateway: HTTP servers and a worker."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import grpc.aio
import uvicorn
from starlette.types import ASGIApp

from proto import runtime_pb2 as pb
from proto.runtime_pb2_grpc import (
    DeadLettersServicer,
    PluginRuntimeServicer,
    add_DeadLettersServicer_to_server,
    add_PluginRuntimeServicer_to_server,
)


class _Server(uvicorn.Server):
    """Leaves the signals to pytest, and says when it listens."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
        self.listens = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()


@asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve ``app`` over HTTP on a free loopback port; its address."""
    server = _Server(app)
    # asyncio turns Nagle's delay off only on sockets that name their protocol.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        await server.listens.wait()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


def closed_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def status_of(gateway_url: str, path: str, token: str) -> int:
    """Ask for ``path`` exactly as it is written: every HTTP client would tidy it up."""
    address = urlsplit(gateway_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode()
    )
    status_line = await reader.readline()
    await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(status_line.split()[1])


Answer = TypeVar("Answer")
RouteHandler = Callable[[pb.CallRouteRequest, Any], Awaitable[pb.CallRouteResponse]]


class FakeLetters(DeadLettersServicer):
    """Answers about dead letters with ``answers``, by the name of the method, and remembers the requests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answers: dict[str, Any] = {}

    async def ListDeadLetters(self, request: pb.ListDeadLettersRequest, _: Any) -> pb.ListDeadLettersResponse:  # noqa: N802
        return self._answer("list", request, pb.ListDeadLettersResponse())

    async def GetDeadLetter(self, request: pb.GetDeadLetterRequest, _: Any) -> pb.GetDeadLetterResponse:  # noqa: N802
        return self._answer("get", request, pb.GetDeadLetterResponse())

    async def ReplayDeadLetters(  # noqa: N802
        self, request: pb.ReplayDeadLettersRequest, _: Any
    ) -> pb.ReplayDeadLettersResponse:
        return self._answer("replay", request, pb.ReplayDeadLettersResponse())

    async def DiscardDeadLetters(  # noqa: N802
        self, request: pb.DiscardDeadLettersRequest, _: Any
    ) -> pb.DiscardDeadLettersResponse:
        return self._answer("discard", request, pb.DiscardDeadLettersResponse())

    async def GetReplay(self, request: pb.GetReplayRequest, _: Any) -> pb.GetReplayResponse:  # noqa: N802
        return self._answer("progress", request, pb.GetReplayResponse())

    def _answer(self, name: str, request: Any, usual: Answer) -> Answer:
        self.requests.append(request)
        answer: Answer = self.answers.get(name, usual)
        return answer


class FakeWorker(PluginRuntimeServicer):
    """A real gRPC server that answers CallRoute with ``answer``, which tests replace, and remembers the requests.

    ``letters`` answers about dead letters.
    """

    def __init__(self) -> None:
        self.letters = FakeLetters()
        self.requests: list[pb.CallRouteRequest] = []
        self.answer: RouteHandler = reply()
        self.address = ""

    def forget(self) -> None:
        """Begin again: no requests seen, the usual answer."""
        self.requests.clear()
        self.letters.requests.clear()
        self.letters.answers.clear()
        self.answer = reply()

    async def CallRoute(self, request: pb.CallRouteRequest, context: Any) -> pb.CallRouteResponse:  # noqa: N802
        self.requests.append(request)
        return await self.answer(request, context)

    async def RunLifecycleHook(  # noqa: N802
        self, request: pb.RunLifecycleHookRequest, context: Any
    ) -> pb.RunLifecycleHookResponse:
        return pb.RunLifecycleHookResponse()

    async def ListRetainedData(self, request: pb.ListRetainedDataRequest, context: Any) -> Any:  # noqa: N802
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the gateway asks the registry")

    def ExportRetainedData(self, request: pb.ExportRetainedDataRequest, context: Any) -> Any:  # noqa: N802
        raise NotImplementedError("the gateway asks the registry")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeWorker"]:
        server = grpc.aio.server()
        add_PluginRuntimeServicer_to_server(self, server)  # type: ignore[no-untyped-call,unused-ignore]
        add_DeadLettersServicer_to_server(self.letters, server)  # type: ignore[no-untyped-call,unused-ignore]
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        try:
            yield self
        finally:
            await server.stop(grace=0)


def reply(status: int = 200, body: bytes = b"{}", **headers: str) -> RouteHandler:
    """Answers as a plugin would; a header's name has underscores for hyphens."""
    sent = [pb.Header(name=name.replace("_", "-"), value=value) for name, value in headers.items()]

    async def answer(_: pb.CallRouteRequest, __: Any) -> pb.CallRouteResponse:
        return pb.CallRouteResponse(reply=pb.RouteReply(status=status, headers=sent, body=body))

    return answer


def failure(code: str) -> RouteHandler:
    """Answers as a worker does whose plugin failed."""
    failed = pb.PluginFailure(code=code, message="KeyError: secret", stack="Traceback: /plugin/secret.py")

    async def answer(_: pb.CallRouteRequest, __: Any) -> pb.CallRouteResponse:
        return pb.CallRouteResponse(failure=failed)

    return answer
