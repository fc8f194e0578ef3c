"""A host as it is first written: it starts plugins as plain processes, trusts what they send and waits for as long as
they take. Run as ``naive_host.py PACKAGE BODY FOLLOW_UP [FILE]``; says on standard output, in lines of JSON, how it
went. With a FILE, it lets a descriptor of it slip to the attacker.

It exists to show what an attack would do to it, so that nobody believes a wall that holds off nothing.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from outlet._calls import RouteResult

GUEST = Path(__file__).with_name("bare_guest.py")
ATTACK, NEIGHBOUR, LATER = 1, 2, 1000
FOLLOW_UPS = 6
PART, RESULTS, CALLS = 6, 13, 14
NOTHING = b"\x00\x00\x00\x03\x92\x05\x90"
"""A frame that answers no API calls."""


class Guest:
    """One plugin's process. What it prints is collected, as subprocess.communicate does."""

    def __init__(self, package: str) -> None:
        self.connection, theirs = socket.socketpair()
        self.process = subprocess.Popen(
            [sys.executable, str(GUEST), package, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        theirs.close()
        self.printed: list[bytes] = []
        self.passed: list[int] = []
        threading.Thread(target=self._collect, daemon=True).start()

    def send(self, number: int, body: bytes) -> None:
        """Send a call."""
        frame = msgspec.msgpack.encode([number, body])
        self.connection.sendall(len(frame).to_bytes(4, "big") + frame)

    def let_slip(self, path: str) -> None:
        """Pass an open file along with a frame that means nothing."""
        with Path(path).open("rb") as file:
            socket.send_fds(self.connection, [NOTHING], [file.fileno()])

    def read(self) -> Any:
        """One frame, whatever its size and whatever is in it."""
        return msgspec.msgpack.decode(self._exactly(int.from_bytes(self._exactly(4), "big")))

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            received, passed, _, _ = socket.recv_fds(self.connection, min(size - len(data), 2**20), 253)
            self.passed += passed
            if not received:
                raise EOFError("the plugin hung up")
            data += received
        return bytes(data)

    def _collect(self) -> None:
        assert self.process.stdout is not None
        while data := os.read(self.process.stdout.fileno(), 2**16):
            self.printed.append(data)


def say(**words: Any) -> None:
    """One line for whoever started this."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def serve(attacker: Guest, neighbour: Guest, body: bytes, follow_up: int, gifts: list[str]) -> None:
    """Call both; results are matched with calls by their number alone."""
    pending = {ATTACK, NEIGHBOUR}
    results: dict[int, bytes] = {}
    parts: dict[int, bytes] = {}

    def take(guest: Guest) -> None:
        tag, *rest = guest.read()
        if tag == PART:
            parts[rest[0]] = parts.get(rest[0], b"") + rest[1]
        elif tag == CALLS:
            for *_, arguments in rest[0]:
                msgspec.msgpack.decode(arguments)
        elif tag == RESULTS:
            take_results(rest[0])

    def take_results(answers: list[Any]) -> None:
        for number, last, *_ in answers:
            payload = parts.pop(number, b"") + last
            if number in results and number == ATTACK:
                raise KeyError(number)
            if number in pending:
                pending.discard(number)
                results[number] = payload

    attacker.send(ATTACK, body)
    for path in gifts:
        attacker.let_slip(path)
    neighbour.send(NEIGHBOUR, b"")
    for _ in range(FOLLOW_UPS if follow_up else 0):
        attacker.send(LATER, b"0" * follow_up)
    while ATTACK in pending:
        take(attacker)
    say(evidence=json.loads(msgspec.msgpack.decode(results[ATTACK], type=RouteResult).body)["evidence"])
    while NEIGHBOUR in pending:
        take(neighbour)
    say(neighbour=results[NEIGHBOUR].decode())


def main() -> None:
    """Start both plugins, call them, and stay until told to go."""
    package, body, follow_up, *gifts = sys.argv[1:]
    attacker, neighbour = Guest(package), Guest(package)
    neighbour.send(0, b"")
    neighbour.read()
    attacker.send(0, b"")
    attacker.read()
    say(attacker=attacker.process.pid, neighbour=neighbour.process.pid)
    sys.stdin.readline()
    serve(attacker, neighbour, body.encode(), int(follow_up), gifts)
    sys.stdin.read()


if __name__ == "__main__":
    main()
