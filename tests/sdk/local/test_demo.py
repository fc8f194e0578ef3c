"""The demo as its users meet it: on a platform of its own, by the command, interrupted, and when something is wrong."""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from outlet.local.journey import Journey, Platform
from outlet.local.scenario import trade
from outlet.local.stack import Stack
from outlet.package import Package, build

ROOT = Path(__file__).parents[3]
COMMAND = (str(Path(sys.executable).with_name("outlet")), "demo")
EMBEDDED = {name: value for name, value in os.environ.items() if not name.startswith("OUTLET_")}


@pytest.fixture(scope="module")
async def platform(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    async with Stack(tmp_path_factory.mktemp("platform"), environ=EMBEDDED, durable=False) as stack:
        yield Platform(stack.gateway_url, stack.bootstrap, stack.issuer.token)


@pytest.fixture(scope="module")
def package() -> Package:
    return build(ROOT / "plugins" / "loyalty_points")


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short name: Unix sockets in it have no room for a long one."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        yield Path(folder)


async def test_every_customer_gets_exactly_the_points_of_their_sales(platform: Platform, package: Package) -> None:
    business = trade("exact", count=300, customers=30, redelivered=30)
    said: list[str] = []
    outcome = await Journey(platform, package, business, said.append).run()
    assert outcome.differences == ()
    assert outcome.points_awarded == outcome.points_expected == sum(business.expected.values()) > 0
    assert (outcome.events, outcome.redelivered, outcome.customers) == (300, 30, 30)
    assert (outcome.route_status, outcome.overdraw_status, outcome.inactive_route_status) == (200, 409, 409)
    assert (outcome.components, outcome.points_awarded_while_inactive) == (1, 0)
    assert said[0] == "Loyalty points 1.0.0 published, installed for 3 stores, active"


async def test_a_balance_that_is_not_as_expected_is_named(platform: Platform, package: Package) -> None:
    business = trade("differing", count=40, customers=4, redelivered=4)
    expected = dict(business.expected)
    expected["customer-0002"] += 1
    outcome = await Journey(platform, package, replace(business, expected=expected), lambda _: None, patience=0.5).run()
    right = business.expected["customer-0002"]
    assert outcome.differences == (f"points of customer-0002: {right}, expected {right + 1}",)
    assert not outcome.as_expected


async def test_the_command_runs_on_its_own_parts_and_ends_with_its_figures(
    temporary: Path,
) -> None:
    demo = await _demo(temporary, OUTLET_KAFKA_BOOTSTRAP="kafka.example:9092", OUTLET_REGISTRY_PORT="1")
    output, errors = await demo.communicate()
    lines = output.decode().splitlines()
    assert (demo.returncode, errors) == (0, b"")
    assert lines[-1].startswith("DEMO ")
    figures = json.loads(lines[-1].removeprefix("DEMO "))
    assert figures["points_expected"] == figures["points_awarded"] > 0
    assert (figures["events"], figures["redelivered"], figures["route_status"]) == (2000, 100, 200)
    assert figures["hooks_per_second"] > 0
    assert figures["seconds"] > 0
    assert _left_in(temporary) == []
    assert _processes_in(temporary) == []


async def test_an_interrupted_demo_says_so_and_leaves_nothing_behind(temporary: Path) -> None:
    demo = await _demo(temporary)
    assert demo.stdout is not None
    async for line in demo.stdout:
        if b"published" in line:
            break
    assert _processes_in(temporary) != []
    demo.send_signal(signal.SIGTERM)
    _, errors = await asyncio.wait_for(demo.communicate(), 20)
    assert demo.returncode == 1
    assert errors.decode().strip() == "Interrupted; nothing is left running."
    assert _left_in(temporary) == []
    assert _processes_in(temporary) == []


async def test_outside_of_a_checkout_the_demo_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").touch()
    demo = await _demo(tmp_path, PYTHONPATH=str(tmp_path))
    output, errors = await demo.communicate()
    assert (demo.returncode, output) == (1, b"")
    assert errors.decode().splitlines() == [
        "The demo could not finish: the example plugin plugins/loyalty_points is not here",
        "Run it from a checkout of Outlet.",
    ]


async def _demo(temporary: Path, **environment: str) -> asyncio.subprocess.Process:
    """The command with a folder of its own for temporary files, by which its processes can be told."""
    environ: Mapping[str, str] = {**EMBEDDED, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1", **environment}
    return await asyncio.create_subprocess_exec(
        *COMMAND, env=environ, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


def _left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _processes_in(folder: Path) -> list[str]:
    """Processes other than ours that were started with this folder for temporary files."""
    found = []
    for process in psutil.process_iter(["pid", "name"]):
        try:
            if process.environ().get("TMPDIR") == str(folder):
                found.append(f"{process.pid} {process.name()}")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
