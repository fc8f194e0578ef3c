"""What a plugin can do wrong, and what it is told: a label each, and every other plugin unharmed."""

import asyncio
import json
from typing import Any

import pytest

from services.common.runtime_client import PluginFailed
from services.runtime.sandbox import GuestKey, PluginInterrupted, SandboxPool, SandboxUnavailable
from tests.runtime.sandbox.conftest import StartPlugin, StartPool
from tests.runtime.sandbox.plugins import Caller, Recorder, pack_unimported

PLUGIN = """
@plugin.hook("sale.created")
async def misbehave(api: Api, event: Event) -> None:
    how = event.data["how"]
    if how == "raise":
        inner()
    elif how == "exit":
        os._exit(3)
    elif how == "sys.exit":
        sys.exit("bye")
    elif how == "interrupt":
        raise KeyboardInterrupt
    elif how == "cancel":
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
    elif how == "segfault":
        import ctypes
        ctypes.string_at(0)
    elif how == "busy":
        while True: pass
    elif how == "wait":
        await asyncio.Event().wait()
    elif how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "garbage":
        os.write(3, b"\\x00\\x00\\x00\\x05hello")
        await asyncio.Event().wait()
    elif how == "oversized":
        os.write(3, b"\\x7f\\xff\\xff\\xff")
        await asyncio.Event().wait()
    elif how == "background exit":
        async def leave(): sys.exit(4)
        asyncio.get_running_loop().create_task(leave())
        await asyncio.Event().wait()
    elif how == "hang up":
        import socket
        socket.socket(fileno=3).shutdown(socket.SHUT_RDWR)
        await asyncio.Event().wait()
    elif how == "stdout":
        print("to nobody" * 100_000, flush=True)
        print("to nobody" * 100_000, file=sys.stderr, flush=True)
        assert sys.stdin.read() == ""
    elif how == "surrogate":
        raise ValueError("\\ud800" + "x" * 10_000)
    elif how == "return":
        return {"points": 3}
    elif how == "deep":
        def down(): down()
        down()

def inner():
    raise RuntimeError("no such rate")

@plugin.route("GET", "/value/{which}")
async def value(api: Api, request: Request):
    return {
        "none": None, "object": {"a": object()}, "number": 3, "status": Response({}, 99),
        "text status": Response({}, "200"),
        "header": Response({}, 200, {"x": "a\\r\\nb"}),
        "headers": Response({}, 200, {f"x-{n}": "" for n in range(100)}),
        "large": Response(b"x" * 5_000_000),
    }[request.params["which"]]

@plugin.on_install
async def fine() -> None: ...

@plugin.on_activate
async def answers() -> str:
    return "to nobody"
"""


async def failure_of(call: Any) -> PluginFailed:
    with pytest.raises(PluginFailed) as raised:
        await call
    return raised.value


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("raise", "plugin_raised", "RuntimeError: no such rate"),
        ("cancel", "plugin_raised", "asyncio.exceptions.CancelledError"),
        ("deep", "plugin_raised", "RecursionError"),
        ("return", "plugin_bad_result", "the hook sale.created returned dict"),
        ("sys.exit", "plugin_exited", "SystemExit: bye"),
        ("interrupt", "plugin_exited", "KeyboardInterrupt"),
        ("exit", "plugin_exited", "the plugin's process ended with status 3"),
        ("background exit", "plugin_exited", "the plugin's process ended with status 4"),
        ("segfault", "plugin_exited", "the plugin's process was ended by SIGSEGV"),
        ("kill", "plugin_exited", "the plugin's process was ended by SIGKILL"),
        ("hang up", "plugin_exited", "the plugin's process ended"),
        ("busy", "plugin_timeout", "no result within 0.5 s"),
        ("wait", "plugin_timeout", "no result within 0.5 s"),
        ("garbage", "plugin_protocol_error", "not a frame"),
        ("oversized", "plugin_protocol_error", "a frame of 2147483647 bytes"),
    ],
)
async def test_each_way_to_fail_has_its_label_and_the_next_call_works(
    start_plugin: StartPlugin, how: str, code: str, message: str
) -> None:
    caller = start_plugin(PLUGIN)
    await caller.lifecycle("onInstall")
    failure = await failure_of(caller.hook({"how": how}, deadline=0.5))
    assert failure.code == code
    assert failure.message.startswith(message)
    assert await caller.lifecycle("onInstall") == b""


async def test_a_traceback_shows_the_plugins_lines_and_nobody_elses(start_plugin: StartPlugin) -> None:
    failure = await failure_of(start_plugin(PLUGIN).hook({"how": "raise"}))
    assert "probe/__init__.py" in failure.stack
    assert 'raise RuntimeError("no such rate")' in failure.stack
    assert "outlet" not in failure.stack


async def test_a_message_that_is_no_text_is_cut_and_replaced(start_plugin: StartPlugin) -> None:
    failure = await failure_of(start_plugin(PLUGIN).hook({"how": "surrogate"}))
    assert failure.code == "plugin_raised"
    assert len(failure.message) <= 2_000


async def test_what_a_plugin_prints_goes_nowhere(start_plugin: StartPlugin) -> None:
    assert await start_plugin(PLUGIN).hook({"how": "stdout"}) == b""


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("none", "returned NoneType"),
        ("number", "returned int"),
        ("object", "not JSON"),
        ("status", "status 99"),
        ("text status", "status '200'"),
        ("header", "without line breaks"),
        ("headers", "100 headers"),
        ("large", "5000000 bytes"),
    ],
)
async def test_a_route_that_returns_rubbish_is_labelled(start_plugin: StartPlugin, which: str, message: str) -> None:
    failure = await failure_of(start_plugin(PLUGIN).route("GET", f"/value/{which.replace(' ', '%20')}"))
    assert failure.code == "plugin_bad_result"
    assert message in failure.message


async def test_a_lifecycle_hook_that_returns_something_is_labelled(start_plugin: StartPlugin) -> None:
    failure = await failure_of(start_plugin(PLUGIN).lifecycle("onActivate"))
    assert failure.code == "plugin_bad_result"
    assert "the hook onActivate returned str" in failure.message


@pytest.mark.parametrize("how", ["busy", "exit", "segfault", "garbage", "hang up"])
async def test_neighbours_go_on_while_a_plugin_misbehaves(start_plugin: StartPlugin, how: str) -> None:
    bad = start_plugin(PLUGIN)
    good = Caller(bad.pool, pack_unimported(""), "globex")
    good.key = type(bad.key)("globex", bad.key.plugin_id, bad.key.digest)
    await asyncio.gather(bad.lifecycle("onInstall"), good.lifecycle("onInstall"))
    misbehaving = asyncio.create_task(failure_of(bad.hook({"how": how}, deadline=1)))
    while not misbehaving.done():
        async with asyncio.timeout(0.5):
            await good.lifecycle("onInstall")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('at import')", "ValueError: at import"),
        ("import outlet_missing", "ModuleNotFoundError: No module named 'outlet_missing'"),
        ("def broken(", "SyntaxError"),
        ("plugin = 3", "probe:plugin is 3, not an outlet.Plugin"),
        ("sys.exit(1)", "SystemExit: 1"),
        ("os._exit(5)", "while loading: the plugin's process ended with status 5"),
        ("while True: pass", "the plugin was not ready within 1 s"),
        ("@plugin.hook('sale.created')\nasync def more(): ...", "the manifest declares other handlers"),
    ],
)
async def test_a_plugin_that_cannot_be_loaded_fails_every_waiting_call(
    start_pool: StartPool, source: str, message: str
) -> None:
    built = pack_unimported(source)
    fetched = []

    async def fetch(key: GuestKey) -> bytes:
        fetched.append(key.digest)
        return built.data

    caller = Caller(start_pool(fetch=fetch, load_deadline=1, concurrency=2), built)
    failures = await asyncio.gather(*(failure_of(caller.lifecycle("onInstall")) for _ in range(5)))
    assert {failure.code for failure in failures} == {"plugin_load_failed"}
    assert message in failures[0].message
    assert len(fetched) == 1
    await failure_of(caller.lifecycle("onInstall"))
    assert len(fetched) == 2


async def test_a_package_with_another_digest_is_not_run(start_pool: StartPool) -> None:
    announced, sent = pack_unimported("a = 1"), pack_unimported("a = 2")

    async def fetch(_: GuestKey) -> bytes:
        return sent.data

    failure = await failure_of(Caller(start_pool(fetch=fetch), announced).lifecycle("onInstall"))
    assert failure.code == "plugin_load_failed"
    assert announced.digest in failure.message


async def test_a_package_that_cannot_be_fetched_is_not_the_plugins_fault(start_pool: StartPool) -> None:
    built = pack_unimported("")
    away = [True]

    async def fetch(_: GuestKey) -> bytes:
        if away.pop():
            away.append(False)
            raise ConnectionError("the registry is away")
        return built.data

    caller = Caller(start_pool(fetch=fetch), built)
    with pytest.raises(ConnectionError, match="the registry is away"):
        await caller.lifecycle("onInstall")
    assert await caller.lifecycle("onInstall") == b""


FORGER = """
from outlet import _frames, _values

def forge(frame):
    os.set_blocking(3, True)
    frames = _frames.pack(frame)
    while frames:
        frames = frames[os.write(3, frames):]

@plugin.hook("sale.created")
async def attack(api: Api, event: Event) -> None:
    how, empty = event.data["how"], _values.encode({})
    if how == "unknown result":
        forge(_frames.Results([_frames.Result(999, b"")]))
    elif how == "unknown invocation":
        forge(_frames.Calls([_frames.ApiCall(1, 999, "config.set", empty)]))
    elif how == "flood":
        forge(_frames.Calls([_frames.ApiCall(n, 1, "tables.find", empty) for n in range(1, 66)]))
    elif how == "arguments":
        forge(_frames.Calls([_frames.ApiCall(1, 1, "tables.find", b"\\xc1")]))
    elif how == "no mapping":
        forge(_frames.Calls([_frames.ApiCall(1, 1, "tables.find", _values.encode([1]))]))
    elif how == "deep arguments":
        forge(_frames.Calls([_frames.ApiCall(1, 1, "tables.find", b"\\x91" * 100_000)]))
    elif how == "ready again":
        forge(_frames.Ready(1))
    elif how == "parts of nothing":
        forge(_frames.Part(999, b"x"))
    elif how == "endless parts":
        for _ in range(40):
            forge(_frames.Part(1, b"x" * 200_000))
    elif how == "another code":
        os.write(3, b"\\x00\\x00\\x00\\x0b\\x92\\x0d\\x91\\x93\\x01\\xa0\\x93\\xa1x\\xa0\\xa0")
    await asyncio.Event().wait()
"""


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("unknown result", "a result of call 999"),
        ("unknown invocation", "an API call of call 999"),
        ("flood", "too many API calls"),
        ("arguments", "not a value of an API call"),
        ("no mapping", "not a mapping"),
        ("deep arguments", "not a value of an API call"),
        ("ready again", "Ready at the wrong time"),
        ("parts of nothing", "Part at the wrong time"),
        ("endless parts", "a payload of more than"),
        ("another code", "not a frame"),
    ],
)
async def test_forged_frames_end_the_guest_and_nothing_else(start_plugin: StartPlugin, how: str, message: str) -> None:
    async def never(method: str, arguments: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    failure = await failure_of(start_plugin(FORGER).hook({"how": how}, api=never))
    assert failure.code == "plugin_protocol_error"
    assert message in failure.message


async def test_a_guest_that_does_not_read_is_ended(start_plugin: StartPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.sandbox.stream.MAX_UNREAD", 1_000_000)
    caller = start_plugin(
        """
        @plugin.hook("sale.created")
        async def stop() -> None:
            time.sleep(60)
        """,
        concurrency=100,
    )
    await caller.lifecycle("onInstall")
    calls = []
    for _ in range(20):
        calls.append(asyncio.create_task(caller.hook("x" * 200_000, deadline=60)))
        await asyncio.sleep(0)  # each in a turn of its own
    async with asyncio.timeout(5):
        with pytest.raises(PluginInterrupted):
            await calls[0]
    await caller.pool.close()
    await asyncio.wait(calls)
    assert {type(call.exception()) for call in calls} <= {PluginInterrupted, SandboxUnavailable}


async def test_log_lines_are_let_through_and_a_flood_of_them_ends_the_plugin(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.route("GET", "/log/{count}")
        async def log(api: Api, request: Request) -> dict:
            for number in range(int(request.params["count"])):
                api.log("info", f"line {number}")
            return {}
    """)
    few, flood = Recorder(), Recorder()
    await caller.route("GET", "/log/100", api=few)
    assert [arguments["message"] for _, arguments in few.calls] == [f"line {number}" for number in range(100)]
    failure = await failure_of(caller.route("GET", "/log/5000", api=flood))
    assert (failure.code, failure.message) == ("plugin_limit_exceeded", "log lines: more than 200 per second")
    assert len(flood.calls) < 5000


async def test_api_calls_left_behind_are_cancelled_and_refused(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        left = []

        @plugin.route("GET", "/leave")
        async def leave(api: Api) -> dict:
            left.append(api)
            left.append(asyncio.ensure_future(api.emit("late", {})))
            await api.emit("first", {})
            return {}

        @plugin.route("GET", "/later")
        async def later() -> dict:
            codes = []
            for attempt in (left[1], left[0].emit("later", {})):
                try:
                    await attempt
                except ApiError as error:
                    codes.append(error.code)
            return {"codes": codes}
    """)
    events: list[str] = []

    async def api(method: str, arguments: dict[str, Any]) -> None:
        events.append(arguments["event"])
        if arguments["event"] == "late":
            try:
                await asyncio.Event().wait()
            finally:
                events.append("late was cancelled")

    await caller.route("GET", "/leave", api=api)
    assert sorted(events) == ["first", "late", "late was cancelled"]
    later = await caller.route("GET", "/later", api=api)
    assert json.loads(later.body) == {"codes": ["invocation_ended", "invocation_ended"]}
    assert len(events) == 3


async def test_a_failure_of_the_platform_reaches_whoever_called(start_plugin: StartPlugin) -> None:
    caller = start_plugin("""
        @plugin.hook("sale.created")
        async def swallow(api: Api) -> None:
            try:
                await api.emit("e", {})
            except ApiError:
                pass

        @plugin.on_install
        async def fine() -> None: ...
    """)

    async def api(method: str, arguments: dict[str, Any]) -> None:
        raise ConnectionError("the database is away")

    with pytest.raises(ConnectionError, match="the database is away"):
        await caller.hook(api=api)
    assert await caller.lifecycle("onInstall") == b""


async def test_a_closed_pool_takes_no_calls(start_plugin: StartPlugin) -> None:
    caller = start_plugin(PLUGIN)
    pool: SandboxPool = caller.pool
    await pool.close()
    with pytest.raises(OSError, match="closed"):
        await caller.lifecycle("onInstall")
