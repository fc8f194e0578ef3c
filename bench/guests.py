"""What a guest costs: its start and its memory, against a fresh interpreter; and what its walls cost."""

import asyncio
import os
import statistics
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import cronsim
import msgspec
import psutil

import outlet
from bench.calls import PluginCalls
from bench.grounds import Grounds
from bench.parts import PLUGIN, built_plugin, open_pool, python, scratch
from bench.processes import pss_mib
from bench.results import Findings, Goal, Result, result
from bench.scale import Scale
from services.runtime.sandbox import Zygote

OPEN_ZYGOTE = Path(__file__).parent / "contenders" / "open_zygote.py"
ROOT = Path(__file__).parents[1]


async def guests(_: Grounds, scale: Scale) -> Findings:
    """All of it, one after the other: measurements that run beside each other measure each other."""
    found = [
        await starts(scale.guests),
        await memory(scale.guests, scale.guest_rounds),
        await api_calls(scale.guest_rounds, scale.api_calls),
        await walls(scale.wall_rounds, scale.wall_events),
    ]
    return Findings([each for each in found if each is not None])


async def starts(runs: int) -> Result:
    """From nothing to a plugin that can be called."""
    plugin = built_plugin()
    guests, fresh = [], []
    async with Zygote() as zygote, open_pool(zygote, plugin) as pool:
        for run in range(runs):
            calls = PluginCalls(pool, plugin, f"organization-{run}")
            began = time.perf_counter()
            await calls.hook()
            guests.append((time.perf_counter() - began) * 1e3)
            began = time.perf_counter()
            interpreter = await _fresh_interpreter()
            fresh.append((time.perf_counter() - began) * 1e3)
            await _end(interpreter)
    goal = Goal(of="value", most=True, bound=10)
    return result("guest start, with its first call", "ms", guests, peer="fresh interpreter", peers=fresh, goal=goal)


async def memory(guests: int, runs: int) -> Result | None:
    """The memory of an idle guest: its share of everything (PSS). None where the kernel does not tell us."""
    plugin = built_plugin()
    of_guests, of_fresh = [], []
    async with Zygote() as zygote, open_pool(zygote, plugin) as pool:
        for number in range(guests):
            await PluginCalls(pool, plugin, f"organization-{number}").hook()
        processes = psutil.Process(zygote.pid).children()
        for _ in range(runs):
            try:
                of_guests.append(statistics.median(pss_mib(process.pid) for process in processes))
            except PermissionError:  # guests hide their memory from all but root
                return None
            interpreter = await _fresh_interpreter()
            of_fresh.append(pss_mib(interpreter.pid))
            await _end(interpreter)
    return result(f"memory of one of {guests} idle guests", "MiB", of_guests, peer="fresh interpreter", peers=of_fresh)


async def api_calls(runs: int, count: int) -> Result:
    """From the plugin to the worker and back."""
    plugin = built_plugin()
    async with Zygote() as zygote, open_pool(zygote, plugin) as pool:
        calls = PluginCalls(pool, plugin)
        await calls.api_call_microseconds(count)
        times = [await calls.api_call_microseconds(count) for _ in range(runs)]
    return result("API call, answered at once", "us", times)


async def walls(runs: int, count: int) -> Result:
    """The share of the time of no-op hooks that the walls take: runs with and without them, in turn.

    The time is that of the processors, in worker and guest together: what else runs on the machine does not count.
    """
    plugin = built_plugin()
    async with (
        _open_zygote() as (without, open_pid),
        Zygote() as within,
        open_pool(without, plugin) as open_one,
        open_pool(within, plugin) as confined,
    ):
        loose, tight = PluginCalls(open_one, plugin), PluginCalls(confined, plugin)
        await loose.hook()
        await tight.hook()
        guests = {loose: _only_child(open_pid), tight: _only_child(within.pid)}
        shares = []
        for run in range(runs):
            spent: dict[PluginCalls, float] = {}
            for calls in (loose, tight) if run % 2 else (tight, loose):
                before = _processor_seconds(guests[calls])
                await calls.hooks(count)
                spent[calls] = _processor_seconds(guests[calls]) - before
            shares.append((1 - spent[loose] / spent[tight]) * 100)
    return result("time of no-op hooks lost to the walls", "%", shares, goal=Goal(of="value", most=True, bound=5))


def _only_child(pid: int | None) -> psutil.Process:
    (child,) = psutil.Process(pid).children()
    return child


def _processor_seconds(guest: psutil.Process) -> float:
    times = guest.cpu_times()
    return float(times.user + times.system) + time.process_time()


async def _fresh_interpreter() -> Process:
    process = await asyncio.create_subprocess_exec(
        *python("-m", "bench.contenders.fresh_interpreter", str(PLUGIN)), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    await _greeted(process)
    return process


async def _greeted(process: Process) -> None:
    assert process.stdout is not None
    greeting = await process.stdout.readline()
    assert greeting == b"ready\n", greeting


async def _end(process: Process) -> None:
    process.kill()
    await process.wait()


@asynccontextmanager
async def _open_zygote() -> AsyncIterator[tuple[Zygote, int]]:
    folders = dict.fromkeys(str(Path(module.__file__ or "").parents[1]) for module in (outlet, msgspec, cronsim))
    async with scratch() as folder:
        socket = folder / "socket"
        process = await asyncio.create_subprocess_exec(
            *python("-I", "-S", str(OPEN_ZYGOTE), "--socket", str(socket)),
            *("--parent", str(os.getpid()), "--path", *folders),
            stdout=PIPE,
            env={},
        )
        try:
            await _greeted(process)
            async with Zygote(socket) as zygote:
                yield zygote, process.pid
        finally:
            await _end(process)
