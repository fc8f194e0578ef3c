"""What an author is told of an exception: its message, and the lines of the plugin that led to it."""

import traceback
from collections.abc import Collection

from outlet._frames import MAX_MESSAGE, MAX_STACK, Failure, FailureCode


def describe(code: FailureCode, error: BaseException, paths: Collection[str]) -> Failure:
    """The failure for an exception; the traceback keeps the frames of the files in ``paths``."""
    trace = traceback.TracebackException.from_exception(error)
    _keep_frames_of(trace, paths)
    message = "".join(trace.format_exception_only()).strip()
    return Failure(code, cut(message, MAX_MESSAGE), cut("".join(trace.format()), MAX_STACK))


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters, all of which can be written as UTF-8."""
    shortened = text if len(text) <= limit else text[: limit - 3] + "..."
    return shortened.encode("utf-8", "replace").decode()


def _keep_frames_of(trace: traceback.TracebackException, paths: Collection[str]) -> None:
    waiting = [trace]
    while waiting:
        current = waiting.pop()
        current.stack = traceback.StackSummary.from_list([frame for frame in current.stack if frame.filename in paths])
        waiting += [linked for linked in (current.__cause__, current.__context__) if linked is not None]
        waiting += current.exceptions or []
