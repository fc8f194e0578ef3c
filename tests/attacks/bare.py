"""Runs an attack in a bare process below a naive host, and looks at what it did."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from outlet.package import Package
from tests.attacks import processes
from tests.attacks.attack import BURNING, Attack, Sighting, Trial
from tests.attacks.grounds import ENVIRONMENT, Grounds

HOST = Path(__file__).with_name("naive_host.py")
ROOT = Path(__file__).parents[2]
START_SECONDS = 20.0
PATIENCE_SECONDS = 2.0
"""A host that has not answered by then hangs."""
LEAVE_SECONDS = 0.5


async def run(attack: Attack, package: Package, folder: Path, slowness: float) -> Trial:
    """Attack fresh grounds, with ``slowness`` times the patience. Whatever the plugin starts is ended afterwards."""
    path = folder / "package.zip"
    path.write_bytes(package.data)
    async with Grounds() as grounds:
        everything = processes.Newcomers()
        host = await asyncio.create_subprocess_exec(
            *(sys.executable, str(HOST), str(path), json.dumps(grounds.target), str(attack.follow_up)),
            *([str(grounds.held)] if attack.gift else []),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            cwd=folder,
            env={
                **{name: value for name, value in os.environ.items() if name != ENVIRONMENT},
                "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk")]),
                ENVIRONMENT: grounds.secrets["environment"],
            },
        )
        try:
            seen = await _attack(attack, host, grounds, slowness)
            return Trial(attack.through(seen), seen.ending)
        finally:
            processes.kill(host)
            await host.communicate()
            await everything.end()


async def _attack(attack: Attack, host: Process, grounds: Grounds, slowness: float) -> Sighting:
    assert host.stdin is not None
    async with asyncio.timeout(START_SECONDS * slowness):
        guests = await _said(host)
    plugin = processes.Newcomers(besides=guests["attacker"])
    peaks = processes.Peaks()
    mib, descriptors = processes.mib(host.pid), processes.descriptors(host.pid)
    watching = asyncio.create_task(processes.watch(plugin, host.pid, peaks, slowness))
    host.stdin.write(b"go\n")
    evidence, answer, ending = None, None, "the host hangs"
    try:
        async with asyncio.timeout(PATIENCE_SECONDS * slowness):
            evidence, ending = (await _said(host))["evidence"], "answered"
            answer = (await _said(host))["neighbour"]
    except TimeoutError:
        pass
    except EOFError:
        ending = "the host died"
    served = answer is not None and processes.lives(host.pid)
    await asyncio.sleep(attack.hold)
    burning = attack.hold > 0 and await plugin.burn(0.5) > BURNING
    processes.note(plugin.find(), host.pid, peaks)
    watching.cancel()
    processes.kill(host)  # which is all that a naive host's end does for its plugins: they see the end of the stream
    return Sighting(
        grounds=grounds,
        evidence=evidence,
        ending=ending,
        peaks=peaks,
        lingering=await plugin.gone(LEAVE_SECONDS * slowness),
        burning=burning,
        host_served=served,
        neighbour_answer=answer or "",
        host_mib=peaks.host_mib - mib,
        host_descriptors=peaks.host_descriptors - descriptors,
    )


async def _said(host: Process) -> dict[str, Any]:
    assert host.stdout is not None
    line = await host.stdout.readline()
    if not line:
        raise EOFError
    words: dict[str, Any] = json.loads(line)
    return words
