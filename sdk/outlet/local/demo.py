"""`outlet demo`: the platform starts on this machine, does its main job once, says how that went, and stops."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import httpx
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from outlet.local.client import Refused
from outlet.local.errors import PlatformError
from outlet.local.interrupts import cancelled_by_signals
from outlet.local.journey import Journey, Outcome, Platform
from outlet.local.keeper import Report
from outlet.local.scenario import trade
from outlet.local.stack import Stack
from outlet.local.waiting import NotInTime
from outlet.package import PackageError, build

ORGANIZATION = "acme"


def main(*, only_json: bool = False) -> int:
    """Run the demo; returns the exit status: 0 when everything happened as expected, else 1.

    The last line on standard output is ``DEMO`` and the figures as JSON, the only one with ``only_json``.
    """
    console = Console(quiet=only_json, highlight=False)
    errors = Console(stderr=True, highlight=False)
    try:
        outcome = asyncio.run(_run(console))
    except asyncio.CancelledError:
        errors.print("Interrupted; nothing is left running.")
        return 1
    except (PlatformError, PackageError, Refused, NotInTime, KafkaError, httpx.HTTPError) as error:
        # Some of these have no message of their own.
        errors.print(f"The demo could not finish: {str(error) or type(error).__name__}", markup=False, soft_wrap=True)
        if isinstance(error, PlatformError) and error.remedy:
            errors.print(error.remedy, markup=False, soft_wrap=True)
        return 1
    console.print(_table(outcome))
    for difference in outcome.differences:
        errors.print(f"differs: {difference}", style="red", markup=False, soft_wrap=True)
    print(f"DEMO {json.dumps(outcome.summary())}")  # noqa: T201 - for programs: no styling, no wrapping
    return 0 if outcome.as_expected else 1


async def _run(console: Console) -> Outcome:
    started = time.perf_counter()

    def report(sentence: str) -> None:
        console.print(f"[dim]{time.perf_counter() - started:6.1f} s[/]  {escape(sentence)}", soft_wrap=True)

    def part_changed(change: Report) -> None:
        if change.state == "ready":
            report(f"{change.part} is ready")
        elif change.state == "died":
            report(f"{change.part} died and is started again: {change.detail}")

    package = build(_plugin_folder())
    business = trade(ORGANIZATION)
    with cancelled_by_signals(), tempfile.TemporaryDirectory(prefix="outlet-") as directory:
        async with Stack(Path(directory), environ=_own_environment(directory), report=part_changed) as stack:
            report(f"the platform is up: {stack.gateway_url}")
            platform = Platform(stack.gateway_url, stack.bootstrap, stack.issuer.token)
            outcome = await Journey(platform, package, business, report).run()
        report("stopped; nothing is left behind")
    return replace(outcome, seconds=round(time.perf_counter() - started, 2))


def _own_environment(directory: str) -> Mapping[str, str]:
    """This process's environment without what configures another platform: the demo is always on embedded parts.

    What a process that had to be killed leaves of temporary files goes with the demo's own ``directory``.
    """
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTLET_")}
    return {**own, "TMPDIR": directory}


def _plugin_folder() -> Path:
    """The example plugin beside the services that run it. Raises PlatformError outside of a checkout."""
    services = find_spec("services")
    for place in (services and services.submodule_search_locations) or ():
        folder = Path(place).parent / "plugins" / "loyalty_points"
        if folder.is_dir():
            return folder
    raise PlatformError("the example plugin plugins/loyalty_points is not here", "Run it from a checkout of Outlet.")


def _table(outcome: Outcome) -> Table:
    rows: Mapping[str, str] = {
        "sales": f"{outcome.events:,}, {outcome.redelivered} of them delivered twice",
        "points expected": f"{outcome.points_expected:,}",
        "points awarded": f"{outcome.points_awarded:,} to {outcome.customers} customers",
        "hooks per second": f"{outcome.hooks_per_second:,}",
        "plugin's route": f"{outcome.route_status}, {outcome.inactive_route_status} while inactive",
        "redeemed": f"{outcome.points_redeemed:,} points; an overdraw answers {outcome.overdraw_status}",
        "components at the till": str(outcome.components),
        "awarded while inactive": f"{outcome.points_awarded_while_inactive} points",
        "took": f"{outcome.seconds} s",
    }
    table = Table(title="Loyalty points in three stores", title_justify="left", show_header=False)
    for name, value in rows.items():
        table.add_row(name, value)
    table.add_row("result", "[green]all as expected[/]" if outcome.as_expected else "[red]something differs[/]")
    return table
