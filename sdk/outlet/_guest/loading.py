"""The first act of a guest: receive the package, check its digest, import it. Plain blocking reads."""

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


def load(connection: socket.socket, reader: FrameReader[HostFrame]) -> Program | None:
    """Load the plugin and answer Ready; None when it could not be loaded (answered) or the worker went away."""
    try:
        data = _receive(connection, reader)
        if data is None:
            return None
        package = open_package(data)
    except (Refused, PackageError, FrameError) as error:
        connection.sendall(pack(LoadFailed(cut(str(error), MAX_MESSAGE))))
        return None
    try:
        program = _import(package)
    except BaseException as error:  # noqa: BLE001  importing runs the plugin's code, which may raise anything
        failure = describe("plugin_raised", error, package.sources)
        connection.sendall(pack(LoadFailed(failure.message, failure.stack)))
        return None
    connection.sendall(pack(Ready(PROTOCOL)))
    return program


def _receive(connection: socket.socket, reader: FrameReader[HostFrame]) -> bytes | None:
    announced: Load | None = None
    received = bytearray()
    while announced is None or len(received) < announced.size:
        data = connection.recv(READ_BYTES)
        if not data:
            return None
        for frame in reader.feed(data):
            if isinstance(frame, Load) and announced is None:
                announced = _accept(frame)
            elif isinstance(frame, Chunk) and announced is not None:
                received += frame.data
            else:
                raise Refused(f"{type(frame).__name__} cannot come before the package")
    if digest_of(bytes(received)) != announced.digest:
        raise Refused(f"the package is not the announced {announced.digest}")
    return bytes(received)


def _accept(load: Load) -> Load:
    if load.protocol != PROTOCOL:
        raise Refused(f"the worker speaks protocol {load.protocol}, this guest {PROTOCOL}: run both in one version")
    if not 0 < load.size <= MAX_BYTES:
        raise Refused(f"a package of {load.size} bytes; at most {MAX_BYTES} are allowed")
    return load


def _import(package: Package) -> Program:
    sys.meta_path.insert(0, MemoryFinder(package.sources))
    plugin = load_entry(package.manifest.entry)
    manifest, code = package.manifest, declared(plugin)
    if any(getattr(manifest, part.name) != getattr(code, part.name) for part in fields(code)):
        raise Refused("the manifest declares other handlers than the code: build the plugin again")
    return Program(plugin, package.sources.keys())
