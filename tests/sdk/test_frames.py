"""The frames between worker and guest, whatever the stream does to them."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlet import _values
from outlet._frames import (
    MAX_FRAME,
    MAX_PAYLOAD,
    MAX_WHOLE_PAYLOAD,
    ApiCall,
    Call,
    Calls,
    Chunk,
    Failure,
    FrameError,
    FrameTooLarge,
    GuestFrame,
    Invoke,
    Part,
    PartBuffer,
    Ready,
    Result,
    Results,
    guest_frames,
    host_frames,
    pack,
    pack_batch,
    pack_parts,
)

ids = st.integers(0, 2**63 - 1)
payloads = st.binary(max_size=2_000)
results = st.builds(Result, ids, payloads, st.none() | st.builds(Failure, st.just("plugin_raised"), st.text()))
api_calls = st.builds(ApiCall, ids, ids, st.text(max_size=30), payloads)
frames = st.one_of(
    st.builds(Ready, ids),
    st.builds(Results, st.lists(results, min_size=1, max_size=5)),
    st.builds(Calls, st.lists(api_calls, min_size=1, max_size=5)),
    st.builds(Part, ids, st.binary(min_size=1, max_size=2_000)),
)


@given(st.lists(frames, max_size=8), st.lists(st.integers(1, 500), min_size=1, max_size=20))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(sent: list[GuestFrame], cuts: list[int]) -> None:
    stream = b"".join(pack(frame) for frame in sent)
    reader, received, position, turn = guest_frames(), list[GuestFrame](), 0, 0
    while position < len(stream):
        step = cuts[turn % len(cuts)]
        received += reader.feed(stream[position : position + step])
        position, turn = position + step, turn + 1
    assert received == sent


@pytest.mark.parametrize("empty", [Results([]), Calls([]), Part(1, b"")])
def test_a_frame_with_nothing_in_it_is_refused(empty: GuestFrame) -> None:
    with pytest.raises(FrameError):
        list(guest_frames().feed(pack(empty)))


@given(st.binary(max_size=2_000))
def test_any_bytes_are_frames_or_a_frame_error(stream: bytes) -> None:
    for reader in (guest_frames(), host_frames()):
        try:
            list(reader.feed(stream))
        except FrameError:
            continue


@given(st.lists(st.binary(max_size=100_000), min_size=1, max_size=30))
def test_a_batch_is_split_into_frames_that_fit(sent: list[bytes]) -> None:
    calls = [Call(number, "hook", "sale.created", 1, payload) for number, payload in enumerate(sent)]
    stream = pack_batch(Invoke, calls)
    received = [frame for frame in host_frames().feed(stream) if isinstance(frame, Invoke)]
    assert [call for frame in received for call in frame.calls] == calls
    if sum(map(len, sent)) < MAX_PAYLOAD:
        assert len(received) == 1


@pytest.mark.parametrize("size", [0, 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 * MAX_PAYLOAD + 7])
def test_a_payload_in_parts_is_whole_again(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    ahead, last = pack_parts(7, payload[:size])
    buffer = PartBuffer()
    for frame in host_frames().feed(ahead):
        assert isinstance(frame, Part)
        buffer.add(frame)
    assert len(last) <= MAX_PAYLOAD
    assert buffer.complete(7, last) == payload[:size]
    assert buffer.complete(7, b"") == b""


def test_parts_without_end_are_refused() -> None:
    buffer = PartBuffer()
    for _ in range(MAX_WHOLE_PAYLOAD // MAX_PAYLOAD):
        buffer.add(Part(1, b"x" * MAX_PAYLOAD))
    with pytest.raises(FrameError, match="more than"):
        buffer.add(Part(1, b"x" * MAX_PAYLOAD))


def test_a_frame_above_the_limit_is_neither_sent_nor_read() -> None:
    with pytest.raises(FrameTooLarge):
        pack(Chunk(b"x" * MAX_FRAME))
    with pytest.raises(FrameTooLarge):
        pack_batch(Invoke, [Call(1, "hook", "x", 1, b"x" * MAX_FRAME)])
    with pytest.raises(FrameError, match="at most"):
        list(guest_frames().feed((MAX_FRAME + 1).to_bytes(4, "big")))


def test_what_came_before_garbage_is_still_delivered() -> None:
    frames = guest_frames().feed(pack(Ready(1)) + b"\0\0\0\1\xc1")
    assert next(frames) == Ready(1)
    with pytest.raises(FrameError):
        next(frames)


def test_frames_of_the_other_direction_are_refused() -> None:
    with pytest.raises(FrameError):
        list(guest_frames().feed(pack(Chunk(b""))))


values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.floats(allow_nan=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)).map(
        lambda moment: moment.replace(fold=0)
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc"), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_values_keep_their_type(value: Any) -> None:
    received = _values.decode(_values.encode(value))
    assert received == value
    assert repr(received) == repr(value)


@given(st.binary(max_size=500))
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        _values.decode(data)
    except _values.ValueRefused:
        return


@pytest.mark.parametrize(
    "value",
    [Decimal("NaN"), Decimal("Infinity"), datetime(2026, 1, 1), 2**64, object(), {"a": [object()]}, "\ud800"],
)
def test_what_cannot_travel_is_refused(value: Any) -> None:
    with pytest.raises(_values.ValueRefused):
        _values.encode(value)


@pytest.mark.parametrize("text", [b"NaN", b"Infinity", b"one", b"\xff", b"1" * 1_001])
def test_decimals_that_are_none_are_refused(text: bytes) -> None:
    with pytest.raises(_values.ValueRefused):
        _values.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(_values.DECIMAL, text)))
