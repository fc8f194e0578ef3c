"""`outlet dev`: a platform with the plugin in it; every save of a file is live a moment later."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import typer
from rich.console import Console

from outlet._package_error import PackageError
from outlet.commands import logs
from outlet.commands.connection import Connection, connect
from outlet.commands.console import needs_local, output
from outlet.commands.development import Development
from outlet.commands.gateway import TIMEOUT
from outlet.commands.packages import signing_key
from outlet.local.errors import PlatformError

LOOK_SECONDS = 0.05
LIFETIME = timedelta(days=7)
"""Of tokens for the platform of this machine: nobody develops for longer without a pause."""
LOG_WAIT_SECONDS = 10
IGNORED = frozenset(
    {"__pycache__", ".git", ".venv", "dist", ".outlet", ".pytest_cache", ".mypy_cache", ".ruff_cache", "tests"}
)


@dataclass(frozen=True)
class Wishes:
    """What the command was asked for. ``every``: seconds between sample sales, 0 for none."""

    folder: Path
    organization: str
    settings: dict[str, Any]
    every: float
    key: str
    fresh: bool
    as_json: bool


class Teller:
    """Says what happens: sentences for people, one JSON object a line for programs."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json

    def say(self, event: str, sentence: str, style: str = "", **facts: Any) -> None:
        """Tell of one thing."""
        if self._as_json:
            typer.echo(json.dumps({"event": event, **facts}))
        else:
            self._console.print(sentence, style=style, markup=False, soft_wrap=True)

    def line(self, line: dict[str, Any]) -> None:
        """Tell of a line of the plugin's log."""
        if self._as_json:
            typer.echo(json.dumps({"event": "log", **line}))
        else:
            logs.show(self._console, line)


def dev(wishes: Wishes, url: str | None, token: str | None, publisher: str | None, directory: Path, port: int) -> None:
    """Run until Ctrl-C: on a platform of its own, or on the one at ``url``. Raises PlatformError, PackageError."""
    teller = Teller(output(), as_json=wishes.as_json)
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(wishes, teller, url, token, publisher, directory, port))


async def _run(
    wishes: Wishes,
    teller: Teller,
    url: str | None,
    token: str | None,
    publisher: str | None,
    directory: Path,
    port: int,
) -> None:
    with needs_local():
        from outlet.local.interrupts import cancelled_by_signals
    with cancelled_by_signals():
        async with _gateway(url, directory, port, teller) as address:
            organization = None if token else wishes.organization
            platform = connect(address, token, organization, directory, publisher=publisher, lifetime=LIFETIME)
            with httpx.Client() as client:  # a connection that is open already spares a reload a good part of its time
                platform = replace(platform, client=client)
                await _develop(wishes, teller, platform, directory, local=token is None)


@contextlib.asynccontextmanager
async def _gateway(url: str | None, directory: Path, port: int, teller: Teller) -> AsyncIterator[str]:
    """The address of the gateway: of the given platform, or of one that runs within this block."""
    if url is not None:
        yield url
        return
    with needs_local():
        from outlet.local.stack import Stack
    teller.say("starting", "Starting the platform ...")
    async with Stack(directory, port=port) as stack:
        teller.say("started", f"The platform is up: {stack.gateway_url}", url=stack.gateway_url)
        yield stack.gateway_url


async def _develop(wishes: Wishes, teller: Teller, platform: Connection, directory: Path, *, local: bool) -> None:
    signer = signing_key(platform.url, platform.publisher, directory, wishes.key, local=local)
    level = "community" if local else "private"
    development = Development(platform, wishes.folder, wishes.settings, signer, level)
    await _reload(development, teller, fresh=wishes.fresh)
    async with asyncio.TaskGroup() as group:
        group.create_task(_follow(development, platform, teller))
        if wishes.every:
            group.create_task(_sell(platform, wishes, teller))
        before = _state(wishes.folder)
        while True:
            await asyncio.sleep(LOOK_SECONDS)  # files change in other processes
            after = _state(wishes.folder)
            if after != before:
                before = after
                await _reload(development, teller, fresh=False)


async def _reload(development: Development, teller: Teller, *, fresh: bool) -> None:
    """Put the plugin as it is now in the place of what runs; what cannot be built or installed is told, not raised."""
    begun = time.perf_counter()
    try:
        made = await asyncio.to_thread(development.load, fresh=fresh)
    except (PackageError, PlatformError) as error:
        remedy = f"\n{error.remedy}" if isinstance(error, PlatformError) and error.remedy else ""
        teller.say("failed", f"{error}{remedy}", "red", error=str(error))
        return
    milliseconds = round((time.perf_counter() - begun) * 1000)
    sentence = f"{made['pluginId']} {made['version']} is {made['status']} ({milliseconds} ms)"
    facts = {"installationId": made["id"], "version": made["version"], "milliseconds": milliseconds}
    teller.say("live", sentence, "green", **facts)


async def _follow(development: Development, platform: Connection, teller: Teller) -> None:
    """Tell what the plugin logs, whichever version of it is installed."""
    followed, after = "", "0-0"
    headers = {"authorization": f"Bearer {platform.token}"}
    async with httpx.AsyncClient(base_url=platform.url, headers=headers, timeout=TIMEOUT) as client:
        while True:
            current = await development.installed()
            if current != followed:
                followed, after = current, "0-0"
            asked = {"after": after, "wait": str(LOG_WAIT_SECONDS)}
            reading = asyncio.ensure_future(client.get(f"/api/plugins/{current}/logs", params=asked))
            changing = asyncio.ensure_future(development.changed(current))
            try:
                await asyncio.wait({reading, changing}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done() and reading.result().is_success:
                    page = reading.result().json()
                    after = page["nextAfter"]
                    for line in page["lines"]:
                        teller.line(line)
                elif reading.done():
                    await asyncio.sleep(LOOK_SECONDS)  # the gateway hears of a new installation a moment later
            except httpx.TransportError as error:
                teller.say("failed", f"the log cannot be followed: {error!r}", "yellow", error=repr(error))
                await asyncio.sleep(1)
            finally:
                reading.cancel()
                changing.cancel()


async def _sell(platform: Connection, wishes: Wishes, teller: Teller) -> None:
    """Publish a sample sale now and then, as a till does."""
    from outlet.samples import retailer, sales

    seed = int(time.time())
    tickets = sales(retailer(), 10_000, seed=seed)
    for number, ticket in enumerate(tickets):
        await asyncio.sleep(wishes.every)
        event = cloud_event("sale.created", ticket, f"sample-{seed}-{number}", wishes.organization)
        try:
            await asyncio.to_thread(_publish, platform, event)
        except PlatformError as error:
            teller.say("failed", f"a sample sale was not taken: {error}", "yellow", error=str(error))


def _publish(platform: Connection, event: dict[str, Any]) -> None:
    platform.ask("POST", "/api/events", json=event, headers={"content-type": "application/cloudevents+json"})


def cloud_event(kind: str, document: Any, name: str, organization: str) -> dict[str, Any]:
    """An event in the structured mode of CloudEvents, for the gateway."""
    return {
        "specversion": "1.0",
        "id": name,
        "type": kind,
        "source": "/samples",
        "time": datetime.now(UTC).isoformat(),
        "organization": organization,
        "store": document["storeId"],
        "data": document,
    }


def _state(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file of the plugin."""
    found: dict[str, tuple[int, int]] = {}
    pending = [folder]
    while pending:
        place = pending.pop()
        for path in place.iterdir():
            if path.name in IGNORED or path.name.startswith("."):
                continue
            if path.is_dir():
                pending.append(path)
            else:
                with contextlib.suppress(FileNotFoundError):  # an editor's file that was there a moment ago
                    about = path.stat()
                    found[str(path)] = (about.st_size, about.st_mtime_ns)
    return found
