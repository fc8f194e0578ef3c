"""Breaks everything the platform stands on while sales flow: ``python -m tests.chaos [--small] [--static] [--seed N]``.

Exit status 0 when nothing was lost or doubled and the platform recovered from every fault.
"""

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import structlog

from outlet.local.errors import PlatformError
from outlet.local.interrupts import cancelled_by_signals
from outlet.local.keeper import Report
from tests.chaos import table
from tests.chaos.campaign import Campaign
from tests.chaos.faults.every import KINDS
from tests.chaos.grounds import ground
from tests.chaos.plan import draw
from tests.chaos.scale import SMALL, WHOLE


class Voice:
    """Says what happens, with the seconds since the beginning."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def say(self, line: str) -> None:
        show(f"[{time.monotonic() - self._begun:6.1f}] {line}")

    def report(self, report: Report) -> None:
        """What happened to a service."""
        if report.state in ("died", "ready"):
            self.say(f"  {report.part} {report.state} {report.detail or f'after {report.seconds:.1f} s'}")


async def main(arguments: argparse.Namespace, directory: Path) -> bool:
    """One run, with its data and logs in ``directory``; whether the platform held."""
    scale, voice = SMALL if arguments.small else WHOLE, Voice()
    names = [kind.name for kind in KINDS if not arguments.only or any(part in kind.name for part in arguments.only)]
    plan = draw(names, sales=scale.sales, rounds=scale.rounds, seed=arguments.seed)
    voice.say(f"seed {arguments.seed}, {scale.sales:,} sales, {len(plan.injections)} faults; logs are in {directory}")
    with cancelled_by_signals():
        async with ground(directory, scale, voice.report, static=arguments.static) as grounds:
            voice.say("everything runs; sales begin")
            campaign = Campaign(grounds, scale, plan, seed=arguments.seed, say=voice.say)
            outcome = await campaign.run()
            voice.say("settled")
    for line in table.lines(outcome):
        show(line)
    show(table.total(outcome, seed=arguments.seed))
    return table.holds(outcome)


def show(line: str) -> None:
    """Print one line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--small", action="store_true", help="2,000 sales, each fault once, in under two minutes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="repeats a plan")
    parser.add_argument("--static", action="store_true", help="workers have lasting names (static membership)")
    parser.add_argument("--only", nargs="*", help="faults with one of these words in their name")
    return parser.parse_args()


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # complains of a broker that we have stopped
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    folder = Path(tempfile.mkdtemp(prefix="outlet-chaos-"))
    try:
        held = asyncio.run(main(parse(), folder))
    except PlatformError as error:
        sys.exit(f"{error}\n{error.remedy}".rstrip())
    if held:
        shutil.rmtree(folder)
    sys.exit(not held)
