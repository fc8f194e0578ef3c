"""The first acts of a guest: receive the order, then the package, check its digest, import it. Blocking reads."""

import socket
import sys
from dataclasses import fields

from outlet._frames import (
    MAX_MESSAGE,
    PROTOCOL,
    Chunk,
    FrameError,
    FrameReader,
    HostFrame,
    Load,
    LoadFailed,
    Ready,
    pack,
)
from outlet._guest.failures import cut, describe
from outlet._guest.program import Program
from outlet._load import load_entry
from outlet._modules import MemoryFinder
from outlet._plugin import declared
from outlet.package import MAX_BYTES, Package, PackageError, digest_of, open_package

READ_BYTES = 64 * 1024


class Refused(Exception):
    """The package is not what was announced, or cannot be run by this guest."""


def receive_order(connection: socket.socket, reader: FrameReader[HostFrame]) -> Load | None:
    """What the worker wants loaded, and within which limits; None when the order was refused or the worker went away.

    Nothing of the package has been read then: the worker sends it once the guest is confined.
    """
    try:
        frame = _next_frame(connection, reader)
        return None if frame is None else _accept(frame)
    except (Refused, FrameError) as error:
        _refuse(connection, error)
        return None


def load(connection: socket.socket, reader: FrameReader[HostFrame], order: Load) -> Program | None:
    """Load the plugin and answer Ready; None when it could not be loaded (answered) or the worker went away.

    Raises MemoryError when the plugin is too large for its limit.
    """
    try:
        data = _receive(connection, reader, order)
        if data is None:
            return None
        package = open_package(data)
    except (Refused, PackageError, FrameError) as error:
        _refuse(connection, error)
        return None
    try:
        program = _import(package)
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001  importing runs the plugin's code, which may raise anything
        failure = describe("plugin_raised", error, package.sources)
        connection.sendall(pack(LoadFailed(failure.message, failure.stack)))
        return None
    connection.sendall(pack(Ready(PROTOCOL)))
    return program


def _next_frame(connection: socket.socket, reader: FrameReader[HostFrame]) -> HostFrame | None:
    while data := connection.recv(READ_BYTES):
        frames = list(reader.feed(data))
        if len(frames) > 1:
            raise Refused("nothing can follow the order before the guest is confined")
        if frames:
            return frames[0]
    return None


def _accept(frame: HostFrame) -> Load:
    if not isinstance(frame, Load):
        raise Refused(f"{type(frame).__name__} cannot come before the order")
    if frame.protocol != PROTOCOL:
        raise Refused(f"the worker speaks protocol {frame.protocol}, this guest {PROTOCOL}: run both in one version")
    if not 0 <= frame.size <= MAX_BYTES:
        raise Refused(f"a package of {frame.size} bytes; at most {MAX_BYTES} are allowed")
    return frame


def _receive(connection: socket.socket, reader: FrameReader[HostFrame], order: Load) -> bytes | None:
    received = bytearray()
    while len(received) < order.size:
        data = connection.recv(READ_BYTES)
        if not data:
            return None
        for frame in reader.feed(data):
            if not isinstance(frame, Chunk):
                raise Refused(f"{type(frame).__name__} cannot come before the package")
            received += frame.data
    if digest_of(bytes(received)) != order.digest:
        raise Refused(f"the package is not the announced {order.digest}")
    return bytes(received)


def _refuse(connection: socket.socket, error: Exception) -> None:
    connection.sendall(pack(LoadFailed(cut(str(error), MAX_MESSAGE))))


def _import(package: Package) -> Program:
    sys.meta_path.insert(0, MemoryFinder(package.sources))
    plugin = load_entry(package.manifest.entry)
    manifest, code = package.manifest, declared(plugin)
    if any(getattr(manifest, part.name) != getattr(code, part.name) for part in fields(code)):
        raise Refused("the manifest declares other handlers than the code: build the plugin again")
    return Program(plugin, package.sources.keys())
