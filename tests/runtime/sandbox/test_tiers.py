"""How strong the walls are found to be where the system allows less, and that the sandbox works there."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from outlet._frames import Tier
from outlet._guest.confinement import tier
from services.common.secret_settings import new_key
from services.runtime.sandbox import SandboxTooWeak, SandboxUnavailable, Zygote, detect_tier, require_tier
from services.runtime.settings import RuntimeSettings
from tests.runtime.sandbox.conftest import StartPlugin
from tests.runtime.sandbox.environments import (
    NOBODY,
    as_root,
    other_user,
    outer_profile,
    with_all_walls,
    zygote_elsewhere,
)

PLUGIN = """
@plugin.route("GET", "/who")
async def who() -> dict:
    try:
        files = os.listdir("/")
    except PermissionError:
        files = None
    return {"uid": os.getuid(), "pid": os.getpid(), "files": files}

@plugin.route("GET", "/signal/{pid}")
async def send(api: Api, request: Request) -> dict:
    try:
        os.kill(int(request.params["pid"]), signal.SIGTERM)
    except PermissionError:
        return {"sent": False}
    return {"sent": True}
"""


@pytest.mark.parametrize(
    ("landlock", "filtered", "expected"),
    [(7, True, "A"), (6, True, "A"), (5, True, "B"), (0, True, "B"), (7, False, "C"), (1, False, "C"), (0, False, "D")],
)
def test_a_tier_names_the_walls_that_hold(landlock: int, filtered: bool, expected: Tier) -> None:
    assert tier(landlock, filtered=filtered) == expected


@with_all_walls
async def test_here_every_wall_holds(zygote: Zygote) -> None:
    assert await detect_tier(zygote) == "A"
    assert await require_tier(zygote, "B") == "A"


@with_all_walls
@pytest.mark.parametrize(
    ("profile", "expected"),
    [("default", "A"), ("no-landlock", "B"), ("no-seccomp", "C"), ("no-landlock no-seccomp", "D")],
)
async def test_a_containers_profile_shows_in_the_tier_and_plugins_run(
    profile: str, expected: Tier, tmp_path: Path, start_plugin: StartPlugin
) -> None:
    async with zygote_elsewhere(tmp_path, outer_profile(profile)) as socket:
        zygote = Zygote(socket)
        assert await detect_tier(zygote) == expected
        caller = start_plugin(PLUGIN, zygote=zygote)
        seen = json.loads((await caller.route("GET", "/who")).body)
        assert (seen["files"] is None) == (expected != "D")


@with_all_walls
async def test_below_the_minimum_nothing_starts_and_nothing_runs(tmp_path: Path, start_plugin: StartPlugin) -> None:
    async with zygote_elsewhere(tmp_path, outer_profile("no-seccomp")) as socket:
        zygote = Zygote(socket)
        with pytest.raises(SandboxTooWeak, match=r"tier C .* OUTLET_SANDBOX_MINIMUM wants B"):
            await require_tier(zygote, "B")
        with pytest.raises(SandboxUnavailable, match="walls of tier C; B is wanted"):
            await start_plugin(PLUGIN, zygote=zygote, minimum="B").route("GET", "/who")


def test_production_wants_more_than_development() -> None:
    needed = {
        "kafka_bootstrap": "k:1",
        "runtime_database_url": "postgresql://",
        "redis_url": "redis://",
        "registry_url": "http://",
        "secret_keys": new_key(),
    }
    assert RuntimeSettings.model_validate(needed | {"environment": "production"}).required_tier == "B"
    assert RuntimeSettings.model_validate(needed | {"environment": "development"}).required_tier == "D"
    assert RuntimeSettings.model_validate(needed | {"sandbox_minimum": "A"}).required_tier == "A"


@as_root
@with_all_walls
@pytest.mark.parametrize("profile", [None, "default"])
async def test_an_unprivileged_zygote_has_the_same_walls(
    profile: str | None, tmp_path: Path, start_plugin: StartPlugin
) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    before = other_user() + ([] if profile is None else outer_profile(profile))
    async with zygote_elsewhere(tmp_path, before) as socket:
        zygote = Zygote(socket)
        assert await detect_tier(zygote) == "A"
        seen = json.loads((await start_plugin(PLUGIN, zygote=zygote).route("GET", "/who")).body)
        assert (seen["uid"], seen["files"]) == (NOBODY, None)


KNOCK = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@as_root
async def test_a_zygote_of_another_user_serves_its_group_and_nobody_else(tmp_path: Path) -> None:
    group = 54321
    os.chown(tmp_path, NOBODY, group)
    async with zygote_elsewhere(tmp_path, other_user(group), "--group", str(group)) as socket:
        assert (socket.stat().st_uid, socket.stat().st_gid, socket.stat().st_mode & 0o777) == (NOBODY, group, 0o660)

        async def knock(*groups: int) -> int:
            """As a third user, who is neither root nor the zygote's."""
            command = [part.replace(str(NOBODY), "54322") for part in other_user(*groups)]
            process = await asyncio.create_subprocess_exec(
                *command, sys.executable, "-I", "-c", KNOCK, str(socket), stderr=asyncio.subprocess.DEVNULL
            )
            return await process.wait()

        assert await knock(group) == 0
        assert await knock() != 0


@as_root
async def test_no_signal_crosses_between_worker_and_guest(tmp_path: Path, start_plugin: StartPlugin) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    bystander = await asyncio.create_subprocess_exec(*other_user(), "sleep", "600")
    try:
        async with zygote_elsewhere(tmp_path, other_user(), "--group", str(NOBODY)) as socket:
            caller = start_plugin(PLUGIN, zygote=Zygote(socket))
            for target in (os.getpid(), bystander.pid):  # the same user's as well
                answer = await caller.route("GET", f"/signal/{target}")
                assert json.loads(answer.body) == {"sent": False}
            pid = json.loads((await caller.route("GET", "/who")).body)["pid"]
            await caller.pool.close()  # ends the guest of the other user by its connection alone
            async with asyncio.timeout(5):
                while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110, ASYNC240  another's process cannot be awaited
                    await asyncio.sleep(0.01)
        assert bystander.returncode is None
    finally:
        bystander.send_signal(signal.SIGKILL)
        await bystander.wait()
