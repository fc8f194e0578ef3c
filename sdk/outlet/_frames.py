"""The frames between a worker and the process that runs a plugin.

On the stream: 4 bytes of length, big-endian, then that many bytes of msgpack, at most :data:`MAX_FRAME`. A frame is an
array whose first item is its tag. Payloads are opaque bytes; one larger than :data:`MAX_PAYLOAD` is sent ahead in
:class:`Part` frames. Many calls, or results, share one frame.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Generic, Literal, TypeAlias, TypeVar

import msgspec

from outlet._calls import HookCall

PROTOCOL = 4
MAX_LIBRARIES = 32
"""The most libraries that a plugin can import, those that its libraries import included."""
MAX_FRAME = 256 * 1024
MAX_PAYLOAD = MAX_FRAME - 24 * 1024
"""The largest payload within one frame; the rest is for the envelope."""
MAX_WHOLE_PAYLOAD = 4 * 1024 * 1024
"""The largest payload of one call or result, its parts together."""
MAX_MESSAGE = 2_000
MAX_STACK = 16_000

LENGTH = 4

Kind = Literal["hook", "route", "lifecycle", "schedule", "job"]
FailureCode = Literal["plugin_raised", "plugin_bad_result", "plugin_exited", "plugin_limit_exceeded", "invalid_event"]
Tier = Literal["A", "B", "C", "D"]
"""How strong the walls around a guest are: A has all of them, D is a plain process with limits on resources."""


class FrameError(Exception):
    """The other side broke the protocol."""


class FrameTooLarge(ValueError):
    """A frame above :data:`MAX_FRAME`, which cannot be sent."""


_SOME = msgspec.Meta(min_length=1)
"""Frames with nothing in them are only sent to keep somebody busy."""


class _Item(msgspec.Struct, array_like=True, frozen=True, gc=False):
    pass


class Call(_Item, frozen=True):
    """One call of a handler. ``target`` is the event type, the lifecycle hook, or the name of a schedule or job."""

    id: int
    kind: Kind
    target: str
    scope: int
    payload: bytes


class Failure(_Item, frozen=True):
    """Why a call has no result; ``stack`` is the plugin's traceback."""

    code: FailureCode
    message: str
    stack: str = ""


class Result(_Item, frozen=True):
    """The end of one call."""

    id: int
    payload: bytes
    failure: Failure | None = None


class ApiCall(_Item, frozen=True):
    """One call of the Plugin API, made during an invocation. ``id`` 0: no answer is wanted."""

    id: int
    invocation: int
    method: str
    arguments: bytes


class ApiReply(_Item, frozen=True):
    """The answer to an :class:`ApiCall`: a value, or a code and a message."""

    id: int
    payload: bytes
    error: tuple[str, str] | None = None


class ProcessLimits(_Item, frozen=True):
    """What one guest may use: memory on top of an empty guest's, CPU time per call and in its whole life."""

    memory_bytes: int
    call_cpu_seconds: float
    cpu_seconds: int


class Load(_Item, frozen=True, tag=1):
    """Begin: the package that follows in chunks, by digest (``sha256:<hex>``) and size in bytes.

    The guest answers Confined before it reads on. Size 0: that was all that was wanted. ``libraries`` are the packages
    that follow after it, likewise.
    """

    protocol: int
    digest: str
    size: int
    limits: ProcessLimits
    libraries: Annotated[list[tuple[str, int]], msgspec.Meta(max_length=MAX_LIBRARIES)] = []


class Chunk(_Item, frozen=True, tag=2):
    """The next bytes of the package."""

    data: bytes


class Scope(_Item, frozen=True, tag=3):
    """What the plugin may know of an installation (:class:`outlet._calls.Facts`), for the calls that name ``id``."""

    id: int
    payload: bytes


class Invoke(_Item, frozen=True, tag=4):
    """Calls to run, concurrently."""

    calls: list[Call]


class Reply(_Item, frozen=True, tag=5):
    """Answers to API calls."""

    replies: list[ApiReply]


class Part(_Item, frozen=True, tag=6):
    """The next bytes of the payload of the call, or result, ``id``; the frame that names it brings the last ones."""

    id: int
    data: Annotated[bytes, _SOME]


class Events(_Item, frozen=True, tag=7):
    """Events for the hooks of one installation; the n-th of them, from 0, is the call ``first + n``.

    Hooks are begun in the order in which their events came, over all such frames, ``at_once`` of them at a time.
    """

    first: int
    scope: int
    at_once: int
    events: Annotated[list[HookCall], _SOME]


class Ready(_Item, frozen=True, tag=11):
    """The package is loaded; calls may come."""

    protocol: int


class LoadFailed(_Item, frozen=True, tag=12):
    """The package cannot be run."""

    message: str
    stack: str = ""


class Results(_Item, frozen=True, tag=13):
    """Ends of calls, in any order. ``worn``: half of the guest's CPU time is used up, another should take over."""

    results: Annotated[list[Result], _SOME]
    worn: bool = False


class Done(_Item, frozen=True, tag=17):
    """Hooks (of :class:`Events`) that ended well, in the order in which they ended. ``worn`` as in Results."""

    ids: Annotated[list[int], _SOME]
    worn: bool = False


class Calls(_Item, frozen=True, tag=14):
    """Calls of the Plugin API."""

    calls: Annotated[list[ApiCall], _SOME]


class Exited(_Item, frozen=True, tag=15):
    """Written after the guest's end by who started it: the exit status, or the signal (not 0) that ended it.

    ``cpu_seconds`` is what the guest used in its life.
    """

    status: int
    signal: int
    cpu_seconds: float = 0.0


class Confined(_Item, frozen=True, tag=16):
    """The guest's walls are up, and nothing of the plugin has been read yet."""

    tier: Tier


HostFrame: TypeAlias = Load | Chunk | Scope | Invoke | Events | Reply | Part
GuestFrame: TypeAlias = Confined | Ready | LoadFailed | Results | Done | Calls | Part | Exited

Frame = TypeVar("Frame")
Item = TypeVar("Item")

_encoder = msgspec.msgpack.Encoder()


def pack(frame: HostFrame | GuestFrame) -> bytes:
    """One frame as bytes. Raises :class:`FrameTooLarge`."""
    body = _encoder.encode(frame)
    if len(body) > MAX_FRAME:
        raise FrameTooLarge(f"a frame of {len(body)} bytes; at most {MAX_FRAME} are allowed")
    return len(body).to_bytes(LENGTH, "big") + body


def pack_batch(wrap: Callable[[list[Item]], HostFrame | GuestFrame], items: Sequence[Item]) -> bytes:
    """``items`` in as few frames as they fit in, roughly. Raises :class:`FrameTooLarge` when a single one does not."""
    try:
        return pack(wrap(list(items)))
    except FrameTooLarge:
        if len(items) == 1:
            raise
        half = len(items) // 2
        return pack_batch(wrap, items[:half]) + pack_batch(wrap, items[half:])


def pack_parts(id: int, payload: bytes) -> tuple[bytes, bytes]:  # noqa: A002  the field's name
    """The frames that must go ahead of a payload, and what is left of it for the frame that names it."""
    ahead = b""
    while len(payload) > MAX_PAYLOAD:
        ahead += pack(Part(id, payload[:MAX_PAYLOAD]))
        payload = payload[MAX_PAYLOAD:]
    return ahead, payload


class FrameReader(Generic[Frame]):
    """Cuts a stream into frames of one direction."""

    def __init__(self, decoder: "msgspec.msgpack.Decoder[Frame]") -> None:
        self._decoder = decoder
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that ``data`` completes. Raises :class:`FrameError`, after which the stream is of no use."""
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= LENGTH:
                begin = start + LENGTH
                size = int.from_bytes(buffer[start:begin], "big")
                if size > MAX_FRAME:
                    raise FrameError(f"a frame of {size} bytes; at most {MAX_FRAME} are allowed")
                if len(buffer) - begin < size:
                    break
                start = begin + size
                yield self._decode(bytes(buffer[begin:start]))
        finally:
            del buffer[:start]

    def _decode(self, body: bytes) -> Frame:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise FrameError(f"not a frame: {error}") from error


class PartBuffer:
    """Puts payloads that came in parts together again."""

    def __init__(self) -> None:
        self._parts: dict[int, bytearray] = {}

    def add(self, part: Part) -> None:
        """Keep a part. Raises :class:`FrameError` above :data:`MAX_WHOLE_PAYLOAD`."""
        whole = self._parts.setdefault(part.id, bytearray())
        whole += part.data
        if len(whole) > MAX_WHOLE_PAYLOAD:
            raise FrameError(f"a payload of more than {MAX_WHOLE_PAYLOAD} bytes")

    def complete(self, id: int, last: bytes) -> bytes:  # noqa: A002  the field's name
        """The whole payload that ends with ``last``."""
        ahead = self._parts.pop(id, None)
        return last if ahead is None else bytes(ahead) + last


def host_frames() -> FrameReader[HostFrame]:
    """Reads what a worker sends."""
    return FrameReader(msgspec.msgpack.Decoder(HostFrame))


def guest_frames() -> FrameReader[GuestFrame]:
    """Reads what a guest sends."""
    return FrameReader(msgspec.msgpack.Decoder(GuestFrame))
