"""The API calls that one guest makes: each is answered beside the others, as many at once as a call of it may have."""

import time
from collections.abc import Callable
from typing import Any

from outlet import _values
from outlet._frames import MAX_MESSAGE, MAX_PAYLOAD, ApiCall, ApiReply, FrameError
from services.common.runtime_client import PluginFailed
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.sandbox.invocation import RunningCall
from services.runtime.sandbox.limits import GuestLimits
from services.runtime.sandbox.stream import CALL_COST, SECOND_COST, GuestStream, collection_paused


class ApiCalls:
    """``end`` kills the guest, with a verdict on one of its calls; ``send_reply`` is for replies that it waits for."""

    def __init__(
        self,
        stream: GuestStream,
        limits: GuestLimits,
        end: Callable[[PluginFailed, int], None],
        send_reply: Callable[[ApiReply], None],
    ) -> None:
        self._stream = stream
        self._limits = limits
        self._log_lines = limits.log_allowance()
        self._end = end
        self._send_reply = send_reply

    def take(self, call: ApiCall, running: RunningCall) -> None:
        """Begin to answer what ``running`` asks. Raises FrameError when it cannot be read."""
        notice = call.id == 0
        if not self._stream.charge(CALL_COST):
            return
        if call.method == "log" and not self._log_lines.take(1):
            self._end(self._limits.log_lines_exceeded(), call.invocation)
        elif running.ended:
            self._reply(ApiReply(call.id, b"", ("invocation_ended", "nobody waits for this call any more")))
        elif running.has_room(notice=notice):
            begun = time.thread_time()
            with collection_paused():
                arguments = read_arguments(call)
            if self._stream.charge((time.thread_time() - begun) * SECOND_COST):
                running.start(self._answer(running, call, arguments), notice=notice)
        elif not notice:  # notices may be lost
            self._end(PluginFailed("plugin_protocol_error", "too many API calls at once"), call.invocation)

    async def _answer(self, running: RunningCall, call: ApiCall, arguments: dict[str, Any]) -> None:
        try:
            self._reply(answered(call.id, _values.encode(await running.api(call.method, arguments))))
        except ApiRefusal as refusal:
            self._reply(ApiReply(call.id, b"", (refusal.code, refusal.message[:MAX_MESSAGE])))
        except Exception as error:  # noqa: BLE001  the platform's own failure is for whoever made the call to judge
            self._reply(ApiReply(call.id, b"", ("platform_failed", "the platform could not do this now")))
            running.conclude(error)

    def _reply(self, reply: ApiReply) -> None:
        if reply.id:
            self._send_reply(reply)


def read_arguments(call: ApiCall) -> dict[str, Any]:
    """What a call brings. Raises FrameError when it cannot be read."""
    try:
        arguments = _values.decode(call.arguments)
    except _values.ValueRefused as error:
        raise FrameError(f"arguments of {call.method!r:.60}: {error}") from error
    if not isinstance(arguments, dict) or not all(isinstance(name, str) for name in arguments):
        raise FrameError(f"arguments of {call.method!r:.60}: not a mapping")
    return arguments


def answered(number: int, answer: bytes) -> ApiReply:
    """The reply with an answer, or that it is too large for a frame."""
    if len(answer) <= MAX_PAYLOAD:
        return ApiReply(number, answer)
    detail = f"the answer has {len(answer)} bytes; at most {MAX_PAYLOAD} are allowed: ask for fewer rows"
    return ApiReply(number, b"", ("answer_too_large", detail))
