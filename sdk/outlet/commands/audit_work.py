"""What `outlet audit` does: asks a gateway, or recomputes an exported chain by itself."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import typer

from outlet.commands.console import output
from outlet.commands.gateway import Platform, open_platform, streamed
from outlet.local.errors import PlatformError

PATH = "/api/plugins/audit"
PAGE = 200
BROKEN = 3

Json = dict[str, Any]


class _Line(msgspec.Struct, rename="camel"):
    """One line of an exported log; ``entry`` stays the very text that was hashed."""

    hash: str
    entry: msgspec.Raw = msgspec.Raw(b"")
    previous_hash: str = ""
    end: bool = False
    entries: int = 0


class _Place(msgspec.Struct):
    sequence: int


def connect(url: str, token: str | None, organization: str | None, directory: Path) -> Platform:
    """A platform with a token for it. Raises PlatformError when nobody said whose log is meant."""
    return open_platform(url, token, organization, directory, "owner", whose="whose audit log?")


def show_list(platform: Platform, wanted: dict[str, str], limit: int, *, as_json: bool) -> None:
    """Print at most ``limit`` entries."""
    items: list[Json] = []
    cursor: str | None = None
    while True:
        page = {"limit": min(PAGE, limit - len(items))} | ({"cursor": cursor} if cursor else {})
        answer = platform.send("GET", PATH, params=wanted | page).json()
        items += answer["items"]
        cursor = answer["nextCursor"]
        if cursor is None or len(items) >= limit:
            break
    if as_json:
        typer.echo(json.dumps({"items": items, "nextCursor": cursor}))
        return
    for item in items:
        about = " ".join(str(value) for value in item["about"].values() if value)
        line = (
            f"{item['sequence']:>6}  {item['at']}  {item['by']['subject']}  {item['action']} {item['outcome']}  {about}"
        )
        output().print("".join(c if c.isprintable() else "?" for c in line), markup=False, soft_wrap=True)


def export(platform: Platform, path: Path | None) -> None:
    """Write the whole log. Raises PlatformError when it breaks off before its last line."""
    last = b""
    with _target(path) as target, streamed(platform, PATH + "/export") as chunks:
        for chunk in chunks:
            target.write(chunk)
            last = (last + chunk)[-300:]
    if not last.rpartition(b"\n")[0].rpartition(b"\n")[2].startswith(b'{"end":true'):
        raise PlatformError("the log broke off before its end", "Export it again.")


def ask_verification(platform: Platform) -> Json:
    """The platform's own answer."""
    found: Json = platform.send("GET", PATH + "/verify").json()
    return found


def check_file(path: Path) -> Json:
    """What the platform would answer, of an exported log. Raises PlatformError when the file is none."""
    with path.open("rb") as lines:
        try:
            return _follow(msgspec.json.decode(line, type=_Line) for line in lines)
        except msgspec.DecodeError as error:
            raise PlatformError(f"{path} is no exported audit log: {error}") from error


def _follow(lines: Iterable[_Line]) -> Json:
    sequence, head = 0, bytes(32)
    for line in lines:
        if line.end:
            whole = line.entries == sequence and line.hash == head.hex()
            return _answer(sequence, head, None if whole else "the log does not end where it says that it does")
        digest = hashlib.sha256(head + bytes(line.entry)).digest()
        if line.hash != digest.hex() or line.previous_hash != head.hex():
            return _answer(sequence, head, "the entry was changed, is missing, or stands elsewhere")
        if msgspec.json.decode(line.entry, type=_Place).sequence != sequence + 1:
            return _answer(sequence, head, "the entry belongs elsewhere")
        sequence, head = sequence + 1, digest
    return _answer(sequence, head, "the log was cut off")


def _answer(entries: int, head: bytes, reason: str | None) -> Json:
    broken = None if reason is None else {"sequence": entries + 1, "reason": reason}
    return {"valid": reason is None, "entries": entries, "head": head.hex(), "broken": broken}


def show_verification(found: Json, *, as_json: bool) -> int:
    """Print it; the exit status."""
    if as_json:
        typer.echo(json.dumps(found))
    elif found["valid"]:
        output().print(f"Whole: {found['entries']} entries, head {found['head']}", markup=False, soft_wrap=True)
    else:
        broken = found["broken"]
        output().print(f"BROKEN at entry {broken['sequence']}: {broken['reason']}", markup=False, soft_wrap=True)
    return 0 if found["valid"] else BROKEN


@contextlib.contextmanager
def _target(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        return
    with path.open("wb") as file:
        yield file
