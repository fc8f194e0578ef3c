"""What happens to a plugin that uses more than it may: it is told which limit it was, and replaced."""

import asyncio
import json
import signal

import pytest

from outlet.manifest import Limits
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import OperatorLimits, PluginInterrupted, limits
from services.runtime.sandbox.limits import granted
from services.runtime.sandbox.rates import Allowance
from tests.runtime.sandbox.conftest import StartPlugin
from tests.runtime.sandbox.plugins import Caller

PLUGIN = """
kept = []

@plugin.hook("sale.created")
async def misbehave(api: Api, event: Event) -> None:
    how = event.data["how"]
    if how == "one large object":
        bytearray(1 << 30)
    elif how == "many small objects":
        while True: kept.append(object())
    elif how == "many maps":
        import mmap
        while True: kept.append(mmap.mmap(-1, 1 << 20))
    elif how == "swallows the error":
        try:
            while True: kept.append(bytes(1 << 20))
        except MemoryError:
            while True: kept.append(object())
    elif how == "compute":
        while True: pass
    elif how == "one long match":
        import re
        re.match(r"(a+)+$", "a" * 64 + "b")
    elif how == "compute without a timer":
        signal.setitimer(signal.ITIMER_PROF, 0)
        while True: pass
    elif how == "payloads":
        while True: await api.emit("large", {"data": "x" * 200_000})
    elif how == "notices":
        while True:
            for _ in range(1_000): api._transport.notify("nothing", {})
            await asyncio.sleep(0)
    elif how == "frames":
        os.set_blocking(3, True)
        while True: os.write(3, b"\\x00\\x00\\x00\\x06\\x93\\x06\\x01\\xc4\\x01.")  # parts of call 1
    elif how == "containers":
        from outlet import _frames
        os.set_blocking(3, True)
        lists = b"\\x81\\xa1a\\xdd" + (230_000).to_bytes(4, "big") + b"\\x90" * 230_000
        left = _frames.pack(_frames.Calls([_frames.ApiCall(0, 1, "nothing", lists)])) * 40
        while left: left = left[os.write(3, left):]
        time.sleep(10)
    elif how == "wait a little":
        await asyncio.sleep(0.5)

@plugin.route("GET", "/pid")
async def pid() -> dict:
    return {"pid": os.getpid()}

@plugin.route("GET", "/burn/{seconds}")
async def burn(api: Api, request: Request) -> dict:
    until = time.process_time() + float(request.params["seconds"])
    while time.process_time() < until: pass
    return {"pid": os.getpid()}

@plugin.route("GET", "/burn-later")
async def burn_later() -> dict:
    def forever():
        while True: pass
    asyncio.get_running_loop().call_later(0.05, forever)
    return {"pid": os.getpid()}

@plugin.route("GET", "/defend/{name}")
async def defend(api: Api, request: Request) -> dict:
    try:
        signal.signal(signal.Signals[request.params["name"]], signal.SIG_IGN)
    except PermissionError:
        return {"refused": True}
    return {"refused": False}
"""


async def pid_of(caller: Caller, path: str = "/pid") -> int:
    return int(json.loads((await caller.route("GET", path)).body)["pid"])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("one large object", "memory: more than 64 MiB"),
        ("many small objects", "memory: more than 64 MiB"),
        ("many maps", "memory: more than 64 MiB"),
        ("swallows the error", "memory: more than 64 MiB"),
        ("compute", "cpu: more than 0.2 s in one call"),
        ("one long match", "cpu: more than 0.2 s in one call"),
        ("payloads", "bytes: more than 1000000 bytes per second"),
    ],
)
async def test_a_breach_is_labelled_with_its_limit_and_the_next_call_works(
    start_plugin: StartPlugin, how: str, message: str
) -> None:
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(memory_mib=64, cpu_seconds=20 if "memory" in message else 0.2, bytes_per_second=1_000_000)
    before = await pid_of(caller)
    with pytest.raises(PluginFailed) as raised:
        await caller.hook({"how": how}, deadline=20)
    assert (raised.value.code, raised.value.message) == ("plugin_limit_exceeded", message)
    assert await pid_of(caller) != before


async def test_an_author_is_shown_where_the_memory_ran_out(start_plugin: StartPlugin) -> None:
    with pytest.raises(PluginFailed) as raised:
        await start_plugin(PLUGIN).hook({"how": "one large object"})
    assert "bytearray(1 << 30)" in raised.value.stack


async def test_a_plugin_too_large_to_be_loaded_is_told_so(start_plugin: StartPlugin) -> None:
    caller = start_plugin("kept = bytearray(80 << 20)\n@plugin.on_install\nasync def fine() -> None: ...")
    caller.wanted = Limits(memory_mib=64)
    with pytest.raises(PluginFailed, match="memory: more than 64 MiB, while loading") as raised:
        await caller.lifecycle("onInstall")
    assert raised.value.code == "plugin_limit_exceeded"


async def test_calls_beside_a_breach_are_not_blamed(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    innocent = asyncio.create_task(caller.hook({"how": "wait a little"}))
    await pid_of(caller)
    for call in (caller.hook({"how": "one large object"}), innocent):
        with pytest.raises(PluginInterrupted):
            await call
    assert await caller.hook({"how": "wait a little"}, alone=True) == b""


async def test_without_its_timer_a_plugin_still_meets_the_deadline(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(cpu_seconds=0.2)
    with pytest.raises(PluginFailed) as raised:
        await caller.hook({"how": "compute without a timer"}, deadline=0.5)
    assert raised.value.code == "plugin_timeout"


async def test_calls_that_end_in_time_do_not_add_up(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(cpu_seconds=0.3)
    assert len({await pid_of(caller, "/burn/0.1") for _ in range(5)}) == 1


async def test_a_plugin_that_used_much_cpu_time_honestly_is_replaced_between_calls(
    start_plugin: StartPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CPU_SECONDS_IN_A_LIFE", 1)
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(cpu_seconds=0.08)
    pids = [await pid_of(caller, "/burn/0.05") for _ in range(15)]
    assert 1 < len(set(pids)) < 6


async def test_a_plugin_that_computes_between_calls_comes_to_an_end(
    start_plugin: StartPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CPU_SECONDS_IN_A_LIFE", 1)
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(cpu_seconds=0.08)
    before = await pid_of(caller, "/burn-later")
    async with asyncio.timeout(10):
        while len(caller.pool):  # noqa: ASYNC110  there is nothing to wait on
            await asyncio.sleep(0.02)
    assert await pid_of(caller) != before


@pytest.mark.parametrize("name", [signal.SIGXCPU.name, signal.SIGPROF.name])
async def test_the_signals_that_end_a_greedy_plugin_cannot_be_handled(start_plugin: StartPlugin, name: str) -> None:
    answer = await start_plugin(PLUGIN).route("GET", f"/defend/{name}")
    assert json.loads(answer.body) == {"refused": True}


@pytest.mark.parametrize("how", ["notices", "frames"])
async def test_a_flood_of_small_things_counts_as_bytes(start_plugin: StartPlugin, how: str) -> None:
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(bytes_per_second=1_000_000)
    with pytest.raises(PluginFailed, match="bytes: more than 1000000") as raised:
        await caller.hook({"how": how}, deadline=20)
    assert raised.value.code == "plugin_limit_exceeded"


async def test_what_takes_long_to_read_counts_as_many_bytes(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    with pytest.raises(PluginFailed) as raised:
        await caller.hook({"how": "containers"}, deadline=10)
    assert raised.value.code == "plugin_limit_exceeded"
    assert raised.value.message.startswith("bytes")


async def test_an_idle_plugin_that_computes_is_ended_as_a_busy_one_is(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(cpu_seconds=0.08)
    await pid_of(caller, "/burn-later")
    async with asyncio.timeout(5):
        while len(caller.pool):  # noqa: ASYNC110  there is nothing to wait on
            await asyncio.sleep(0.02)


async def test_a_manifest_can_ask_for_fewer_calls_at_once(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    caller.wanted = Limits(concurrency=1)
    loop = asyncio.get_running_loop()
    await pid_of(caller)
    begun = loop.time()
    await asyncio.gather(*(caller.hook({"how": "wait a little"}) for _ in range(3)))
    assert loop.time() - begun >= 1.5


def test_the_operator_caps_what_a_manifest_asks_for() -> None:
    allowed = OperatorLimits(
        memory_mib=100, cpu_seconds=2, concurrency=4, bytes_per_second=1_000, log_lines_per_second=9
    )
    greedy = Limits(memory_mib=999, cpu_seconds=99, concurrency=99, bytes_per_second=10**9, log_lines_per_second=10**6)
    for wanted in (greedy, Limits()):
        found = granted(wanted, allowed)
        assert (found.memory_mib, found.call_cpu_seconds, found.concurrency) == (100, 2, 4)
        assert (found.bytes_per_second, found.log_lines_per_second) == (1_000, 9)


def test_an_allowance_fills_up_with_time_to_its_burst_and_no_further() -> None:
    now = 0.0
    allowance = Allowance(10, 20, lambda: now)
    assert allowance.take(20)
    assert not allowance.take(1)
    now = 1.0
    assert allowance.take(9)
    now = 100.0
    assert allowance.take(20)
    assert not allowance.take(1)
