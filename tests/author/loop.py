"""From nothing to an own plugin live on a real sale, by the commands that an author types, and what that takes."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx

from outlet.commands.dev import cloud_event
from outlet.local.issuer import Issuer
from outlet.local.network import free_ports
from outlet.local.waiting import until

OUTLET = (sys.executable, "-c", "from outlet.cli import main; main()")
PLUGIN, PACKAGE = "sales-counter", "sales_counter"
ORGANIZATION, WORKSHOP, STORE = "acme", "workshop", "store-1"
START_SECONDS = 120.0
COMMAND_SECONDS = 60.0
LIVE_SECONDS = 30.0
RELOADS = 3


class CommandFailed(Exception):
    """A command of the loop did not do what it should."""


@dataclass(frozen=True)
class Outcome:
    """``seconds`` from the first command to the counted sale; ``reload_ms``: from a save to the new answer, the median.

    ``milliseconds`` of each command.
    """

    commands: int
    seconds: float
    reload_ms: int
    milliseconds: dict[str, int]


async def run(folder: Path) -> Outcome:
    """Go through the loop in ``folder``, which is empty. Raises CommandFailed, or NotInTime."""
    begun = time.perf_counter()
    took: dict[str, int] = {}
    plugin, directory = folder / PLUGIN, folder / ".outlet"
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    here = ("--url", url, "--directory", str(directory))
    await _command(took, "new", "new", str(plugin), "--template", "hook")
    await _command(took, "test", "test", str(plugin))
    async with _up(took, directory, port, url):
        await _command(took, "publish", "publish", str(plugin), *here)
        await _command(took, "install", "install", PLUGIN, "--yes", "--org", ORGANIZATION, *here)
        issuer = Issuer.open(directory / "issuer")
        async with _client(url, issuer, ORGANIZATION) as till:
            await _sell(till, "s-1")
            await _counted(till, {"store": STORE, "sales": 1})
        seconds = time.perf_counter() - begun
        reloads = await _reloads(plugin, issuer, here, url)
    return Outcome(len(took), round(seconds, 1), sorted(reloads)[len(reloads) // 2], took)


async def _reloads(plugin: Path, issuer: Issuer, here: tuple[str, ...], url: str) -> list[int]:
    """Milliseconds from each of some saves until the plugin's route answers as it was saved."""
    source = plugin / PACKAGE / "__init__.py"
    found: list[int] = []
    async with _running("dev", str(plugin), "--org", WORKSHOP, "--every", "0", "--json", *here) as dev:
        await _event(dev, "live")
        async with _client(url, issuer, WORKSHOP) as till:
            await _counted(till, {"store": STORE, "sales": 0})
            for number in range(RELOADS):
                text = source.read_text()
                text = text.replace('return {"store": store,', 'return {"edit": 0, "store": store,')
                saved = text.replace(f'"edit": {max(0, number - 1)}', f'"edit": {number}')
                begun = time.perf_counter()
                source.write_text(saved)
                await _counted(till, {"edit": number, "store": STORE, "sales": 0})
                found.append(round((time.perf_counter() - begun) * 1000))
    return found


@asynccontextmanager
async def _up(took: dict[str, int], directory: Path, port: int, url: str) -> AsyncIterator[None]:
    begun = time.perf_counter()
    async with _running("up", "--directory", str(directory), "--port", str(port)) as up:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:

            async def ready() -> bool:
                if up.returncode is not None:
                    raise CommandFailed(f"outlet up ended with status {up.returncode}")
                try:
                    return (await client.get("/health/ready")).is_success
                except httpx.TransportError:
                    return False

            await until(ready, within=START_SECONDS, what="the platform is ready")
        took["up"] = round((time.perf_counter() - begun) * 1000)
        yield


@asynccontextmanager
async def _running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs until it is interrupted; it has ended after this."""
    process = await asyncio.create_subprocess_exec(*OUTLET, *arguments, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _command(took: dict[str, int], name: str, *arguments: str) -> None:
    begun = time.perf_counter()
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*OUTLET, *arguments, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    async with asyncio.timeout(COMMAND_SECONDS):
        said, _ = await process.communicate()
    if process.returncode:
        raise CommandFailed(f"outlet {' '.join(arguments)}: status {process.returncode}\n{said.decode()}")
    took[name] = round((time.perf_counter() - begun) * 1000)


async def _event(process: asyncio.subprocess.Process, wanted: str) -> dict[str, Any]:
    """The next event of this name that `outlet dev --json` tells of. Raises CommandFailed for a failure."""
    assert process.stdout is not None
    async with asyncio.timeout(COMMAND_SECONDS):
        async for line in process.stdout:
            told: dict[str, Any] = json.loads(line)
            if told["event"] == "failed":
                raise CommandFailed(f"outlet dev: {told['error']}")
            if told["event"] == wanted:
                return told
    raise CommandFailed(f"outlet dev ended and never said {wanted!r}")


@asynccontextmanager
async def _client(url: str, issuer: Issuer, organization: str) -> AsyncIterator[httpx.AsyncClient]:
    """A till of the store."""
    headers = {"authorization": f"Bearer {issuer.token('cashier', organization, store=STORE)}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
        yield client


async def _sell(till: httpx.AsyncClient, sale: str) -> None:
    event = cloud_event("sale.created", {"id": sale, "storeId": STORE, "status": "completed"}, sale, ORGANIZATION)
    headers = {"content-type": "application/cloudevents+json"}
    (await till.post("/api/events", json=event, headers=headers)).raise_for_status()


async def _counted(till: httpx.AsyncClient, expected: dict[str, Any]) -> None:
    async def answers() -> bool:
        answer = await till.get(f"/api/plugins/{PLUGIN}/api/sales/{STORE}")
        return answer.is_success and answer.json() == expected

    await until(answers, within=LIVE_SECONDS, what=f"the route answers {expected}")


def summary(outcome: Outcome) -> str:
    """The last line for programs."""
    return f"AUTHOR {json.dumps(asdict(outcome))}"
