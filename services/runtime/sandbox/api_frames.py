"""API calls as frames carry them: what a guest sends is believed as far as it can be read."""

from typing import Any

from outlet import _values
from outlet._frames import MAX_PAYLOAD, ApiCall, ApiReply, FrameError


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
