"""The worker's end of a guest's stream: frames come in one by one, calls and replies go out together."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from outlet._frames import (
    ApiReply,
    Call,
    FrameError,
    GuestFrame,
    HostFrame,
    Invoke,
    Reply,
    guest_frames,
    pack,
    pack_batch,
)
from services.runtime.sandbox.rates import Allowance

MAX_UNREAD = 16 * 1024 * 1024
"""Bytes that may wait for a guest that does not read."""

FRAME_COST = 1024
CALL_COST = 256
"""Bytes that a frame, and each API call in it, counts on top of its own: a flood of small ones costs us as much."""
SECOND_COST = 512 * 1024 * 1024
"""Bytes that a second of reading what a guest sent counts: few bytes can take long to read."""


@contextmanager
def collection_paused() -> Iterator[None]:
    """Within the block, containers are made without the collector looking through all there are, again and again.

    A quarter of a mebibyte of empty lists takes twenty times as long to read with it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class GuestStream(asyncio.Protocol):
    """Writing never waits: a guest that does not read is broken once :data:`MAX_UNREAD` bytes wait for it.

    ``on_frame`` gets each frame and may raise FrameError; ``on_broken`` is told why the stream is of no use any more;
    ``on_closed`` that the other side is gone; ``on_flood`` that it sent more than ``allowance`` has bytes for.
    """

    def __init__(
        self,
        on_frame: Callable[[GuestFrame], None],
        on_broken: Callable[[str], None],
        on_closed: Callable[[], None],
        on_flood: Callable[[], None],
        allowance: Allowance,
    ) -> None:
        self._on_frame = on_frame
        self._on_broken = on_broken
        self._on_closed = on_closed
        self._on_flood = on_flood
        self._allowance = allowance
        self._reader = guest_frames()
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._calls: list[Call] = []
        self._replies: list[ApiReply] = []
        self._flush_due = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  the loop's promise for a stream socket
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._allowance.take(len(data)):
            self._on_flood()
            return
        try:
            for frame in self._reader.feed(data):
                if not self.charge(FRAME_COST):
                    return
                self._on_frame(frame)
        except FrameError as error:
            self._on_broken(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._on_closed()

    def charge(self, cost: float) -> bool:
        """Count something that the guest made us do as ``cost`` bytes. False when that was too much: it is flooding."""
        if self._allowance.take(cost):
            return True
        self._on_flood()
        return False

    def send(self, frame: HostFrame) -> None:
        """Write one frame now, behind what has gathered. Raises FrameTooLarge."""
        self.write(pack(frame))

    def write(self, frames: bytes) -> None:
        """Write packed frames now, behind what has gathered."""
        self._flush()
        self._write(frames)

    def send_call(self, call: Call) -> None:
        """Write a call at the end of this turn of the loop, together with others."""
        self._calls.append(call)
        self._flush_soon()

    def send_reply(self, reply: ApiReply) -> None:
        """Write a reply at the end of this turn of the loop, together with others."""
        self._replies.append(reply)
        self._flush_soon()

    def close(self) -> None:
        """Hang up at once, which kills the guest."""
        self._calls.clear()
        self._replies.clear()
        if self._transport is not None:
            self._transport.abort()

    def _flush_soon(self) -> None:
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if self._replies:
            self._write(pack_batch(Reply, self._replies))
            self._replies.clear()
        if self._calls:
            self._write(pack_batch(Invoke, self._calls))
            self._calls.clear()

    def _write(self, frames: bytes) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MAX_UNREAD:
            self._on_broken(f"the plugin has not read {MAX_UNREAD} bytes")
            return
        self._transport.write(frames)
