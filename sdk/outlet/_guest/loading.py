"""The first acts of a guest: receive the order, then the package, check its digest, import it. Blocking reads."""

import socket
import sys
from collections.abc import Sequence
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
from outlet._load import TAKEN, load_entry
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
        data = _receive(connection, reader, [(order.digest, order.size), *order.libraries])
        if data is None:
            return None
        package, *libraries = map(open_package, data)
        _check_libraries(package, libraries)
    except (Refused, PackageError, FrameError) as error:
        _refuse(connection, error)
        return None
    try:
        program = _import(package, libraries)
    except MemoryError:
        raise
    except BaseException as error:  # noqa: BLE001  importing runs the plugin's code, which may raise anything
        failure = describe("plugin_raised", error, _paths(package, libraries))
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
    for size in (frame.size, *(size for _, size in frame.libraries)):
        if not 0 <= size <= MAX_BYTES:
            raise Refused(f"a package of {size} bytes; at most {MAX_BYTES} are allowed")
    return frame


def _receive(
    connection: socket.socket, reader: FrameReader[HostFrame], expected: Sequence[tuple[str, int]]
) -> list[bytes] | None:
    """The packages, in the order in which their digests and sizes were announced; None: the worker went away."""
    received, whole = bytearray(), sum(size for _, size in expected)
    while len(received) < whole:
        data = connection.recv(READ_BYTES)
        if not data:
            return None
        for frame in reader.feed(data):
            if not isinstance(frame, Chunk):
                raise Refused(f"{type(frame).__name__} cannot come before the package")
            received += frame.data
    packages, begin = [], 0
    for digest, size in expected:
        packages.append(bytes(received[begin : begin + size]))
        begin += size
        if digest_of(packages[-1]) != digest:
            raise Refused(f"the package is not the announced {digest}")
    if len(received) != whole:
        raise Refused(f"{len(received)} bytes came where {whole} were announced")
    return packages


def _check_libraries(package: Package, libraries: Sequence[Package]) -> None:
    """No library may take the place of a module of Python, of Outlet, of the plugin, or of another library."""
    taken = dict.fromkeys(TAKEN, "Python or Outlet") | dict.fromkeys(_tops(package), "the plugin")
    for library in libraries:
        name = library.manifest.plugin_id
        if not library.manifest.is_library:
            raise Refused(f"{name} is no library")
        for top in _tops(library):
            if top in taken:
                raise Refused(f"the library {name} has a package {top!r}, which is one of {taken[top]}")
            taken[top] = name


def _tops(package: Package) -> set[str]:
    return {path.partition("/")[0] for path in package.sources}


def _paths(package: Package, libraries: Sequence[Package]) -> list[str]:
    return [path for each in (package, *libraries) for path in each.sources]


def _refuse(connection: socket.socket, error: Exception) -> None:
    connection.sendall(pack(LoadFailed(cut(str(error), MAX_MESSAGE))))


def _import(package: Package, libraries: Sequence[Package]) -> Program:
    sys.meta_path[:0] = [MemoryFinder(each.sources) for each in (package, *libraries)]
    plugin = load_entry(package.manifest.entry)
    manifest, code = package.manifest, declared(plugin)
    if any(getattr(manifest, part.name) != getattr(code, part.name) for part in fields(code)):
        raise Refused("the manifest declares other handlers than the code: build the plugin again")
    return Program(plugin, _paths(package, libraries))
