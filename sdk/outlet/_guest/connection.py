"""A loaded guest's side of the stream: calls come in and run concurrently, results and API calls go out together."""

import asyncio
import itertools
import os
import time

import msgspec

from outlet import _json
from outlet._api import Api, with_secrets
from outlet._calls import Facts, HookCall
from outlet._frames import (
    ApiCall,
    ApiReply,
    Call,
    Calls,
    Done,
    Events,
    FrameError,
    FrameReader,
    HostFrame,
    Invoke,
    Part,
    PartBuffer,
    Reply,
    Result,
    Results,
    Scope,
    pack_batch,
    pack_parts,
)
from outlet._guest.hooks import HookQueue
from outlet._guest.limits import OUT_OF_MEMORY, CallTimer
from outlet._guest.program import Program
from outlet._guest.transport import InvocationTransport

_facts = msgspec.msgpack.Decoder(Facts)


class GuestConnection(asyncio.Protocol):
    """Serves calls until the worker closes the stream. ``closed`` is done then.

    ``timer`` starts again whenever the first call begins or one ends. The guest is worn after ``worn_after`` seconds of
    CPU time.
    """

    def __init__(self, program: Program, reader: FrameReader[HostFrame], timer: CallTimer, worn_after: float) -> None:
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._program = program
        self._reader = reader
        self._timer = timer
        self._worn_after = worn_after
        self._calls_running = 0
        self._stream: asyncio.Transport | None = None
        self._scopes: dict[int, Facts] = {}
        self._parts = PartBuffer()
        self._running: set[asyncio.Task[None]] = set()
        self._answers: dict[int, asyncio.Future[ApiReply]] = {}
        self._ids = itertools.count(1)
        self._hooks = HookQueue(self)
        self._results: list[Result] = []
        self._done: list[int] = []
        self._calls: list[ApiCall] = []
        self._flush_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  the loop's promise for a stream socket
        self._stream = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        for frame in self._reader.feed(data):
            match frame:
                case Events():
                    self._begin(len(frame.events))
                    self._hooks.add(frame)
                case Invoke():
                    for call in frame.calls:
                        self._start(call)
                case Reply():
                    for reply in frame.replies:
                        self._answered(reply)
                case Scope():
                    facts = _facts.decode(frame.payload)
                    config = with_secrets(_json.exact(facts.config), facts.secrets)
                    self._scopes[frame.id] = msgspec.structs.replace(facts, config=config)
                case Part():
                    self._parts.add(frame)
                case _:
                    raise FrameError(f"{type(frame).__name__} after the package was loaded")

    def send_call(self, invocation: int, method: str, arguments: bytes) -> "asyncio.Future[ApiReply]":
        """Send one API call; the future gets its answer."""
        number = next(self._ids)
        answer: asyncio.Future[ApiReply] = self._loop.create_future()
        self._answers[number] = answer
        answer.add_done_callback(lambda _: self._answers.pop(number, None))
        self._calls.append(ApiCall(number, invocation, method, arguments))
        self._flush_soon()
        return answer

    def send_notice(self, invocation: int, method: str, arguments: bytes) -> None:
        """Send one API call that gets no answer."""
        self._calls.append(ApiCall(0, invocation, method, arguments))
        self._flush_soon()

    async def run_hook(self, number: int, event: HookCall, scope: int) -> None:
        """Run the hook for one event to its end, and tell."""
        transport = InvocationTransport(self, number)
        try:
            failure = await self._program.run_hook(event, self._api(transport, scope))
        except MemoryError:  # not even enough to say so
            os._exit(OUT_OF_MEMORY)
        transport.end()
        self._calls_running -= 1
        # What ended earlier is told earlier: the worker holds us to the order in which hooks make room for others.
        if failure is None:
            if self._results:
                self.flush()
            self._done.append(number)
        else:
            if self._done:
                self.flush()
            self._results.append(Result(number, b"", failure))
        self._flush_soon()

    def _api(self, transport: InvocationTransport, scope: int) -> Api:
        facts = self._scopes[scope]
        return Api(transport, organization=facts.organization, store=facts.store, config=facts.config)

    def _begin(self, calls: int) -> None:
        if self._calls_running == 0:
            self._timer.start()
        self._calls_running += calls

    def _start(self, call: Call) -> None:
        self._begin(1)
        task = self._loop.create_task(self._run(call, self._parts.complete(call.id, call.payload)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _run(self, call: Call, payload: bytes) -> None:
        transport = InvocationTransport(self, call.id)
        try:
            result = await self._program.run(call, payload, self._api(transport, call.scope))
        except MemoryError:  # not even enough to say so
            os._exit(OUT_OF_MEMORY)
        transport.end()
        self._calls_running -= 1
        self._results.append(result)
        self._flush_soon()

    def _answered(self, reply: ApiReply) -> None:
        answer = self._answers.get(reply.id)
        if answer is not None and not answer.done():
            answer.set_result(reply)

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what gathered in this turn of the loop. API calls go first: each comes before its invocation's end."""
        self._flush_due = False
        if self._stream is None:
            return
        if self._calls:
            self._stream.write(pack_batch(Calls, self._calls))
            self._calls.clear()
        if not self._results and not self._done:
            return
        worn = time.process_time() > self._worn_after
        if self._results:
            results = [self._send_ahead(result) for result in self._results]
            self._stream.write(pack_batch(lambda items: Results(items, worn), results))
            self._results.clear()
        if self._done:
            self._stream.write(pack_batch(lambda items: Done(items, worn), self._done))
            self._done.clear()
        self._timer.start()  # also when nothing runs: an idle plugin has nothing to compute

    def _send_ahead(self, result: Result) -> Result:
        ahead, payload = pack_parts(result.id, result.payload)
        if not ahead or self._stream is None:
            return result
        self._stream.write(ahead)
        return Result(result.id, payload, result.failure)
