"""Carries the API calls of one invocation; refuses them once it has ended."""

import asyncio
from typing import Any, Protocol

from outlet import _values
from outlet._errors import ApiError
from outlet._frames import MAX_PAYLOAD, ApiReply
from outlet._transactions import marked

MAX_OUTSTANDING = 64
"""API calls of one invocation under way at the same time; the worker ends a guest that sends more."""


class Sender(Protocol):
    """Where API calls leave the process."""

    def send_call(self, invocation: int, method: str, arguments: bytes) -> "asyncio.Future[ApiReply]":
        """Send one call; the future gets its answer."""

    def send_notice(self, invocation: int, method: str, arguments: bytes) -> None:
        """Send one call that gets no answer."""


class InvocationTransport:
    """The :class:`outlet.Transport` of one invocation."""

    __slots__ = ("_ended", "_invocation", "_sender", "_turns", "_waiting")

    def __init__(self, sender: Sender, invocation: int) -> None:
        self._sender = sender
        self._invocation = invocation
        self._turns: asyncio.Semaphore | None = None  # most invocations of a busy plugin make no calls
        self._waiting: set[asyncio.Future[ApiReply]] = set()
        self._ended = False

    async def call(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do one call. Raises :class:`ApiError`."""
        data = _encoded(marked(arguments))
        if self._turns is None:
            self._turns = asyncio.Semaphore(MAX_OUTSTANDING)
        await self._turns.acquire()
        if self._ended:
            self._turns.release()
            raise _ended()
        answer = self._sender.send_call(self._invocation, method, data)
        self._waiting.add(answer)
        answer.add_done_callback(self._answered)
        # Who stops waiting does not stop the call: its turn is over when the worker has answered.
        reply = await asyncio.shield(answer)
        if reply.error is not None:
            raise ApiError(*reply.error)
        return _values.decode(reply.payload)

    def notify(self, method: str, arguments: dict[str, Any]) -> None:
        """Send one call that nobody waits for. Raises :class:`ApiError` for what cannot be sent."""
        data = _encoded(arguments)
        if self._ended:
            raise _ended()
        self._sender.send_notice(self._invocation, method, data)

    def end(self) -> None:
        """The handler has returned: what it left running gets no answers any more."""
        self._ended = True
        if not self._waiting:
            return
        for answer in list(self._waiting):
            if not answer.done():
                answer.set_exception(_ended())

    def _answered(self, answer: "asyncio.Future[ApiReply]") -> None:
        self._waiting.discard(answer)
        if self._turns is not None:
            self._turns.release()
        if not answer.cancelled():
            answer.exception()  # known to whoever waited, if anybody still did


def _encoded(arguments: dict[str, Any]) -> bytes:
    try:
        data = _values.encode(arguments)
    except _values.ValueRefused as error:
        raise ApiError("invalid_argument", str(error)) from error
    if len(data) > MAX_PAYLOAD:
        raise ApiError("too_large", f"the arguments have {len(data)} bytes; at most {MAX_PAYLOAD} are allowed")
    return data


def _ended() -> ApiError:
    return ApiError("invocation_ended", "the handler has returned: await every API call before it does")
