"""``python -m bench``: measures, shows a table, and writes results.md, results.json and charts.

``--small`` takes under two minutes. ``--only no-op loyalty`` measures some parts. A run of everything, in full, writes
beside this module; any other writes to ``.outlet/bench``, unless ``--out`` names a folder. ``--json`` prints the
results as JSON on standard output, where nothing else is printed then.
"""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import structlog

from bench.comparison import loyalty, no_op
from bench.grounds import Grounds, ground
from bench.guests import guests
from bench.idle_installations import idle_installations
from bench.machine import machine
from bench.neighbour import neighbour
from bench.parts import scratch
from bench.refusal import Refused
from bench.results import Findings, as_json, table, write
from bench.scale import SMALL, WHOLE, Scale
from bench.workers import workers

Part: TypeAlias = Callable[[Grounds, Scale], Awaitable[Findings]]

PARTS: dict[str, Part] = {
    "guests": guests,
    "no-op": no_op,
    "loyalty": loyalty,
    "idle": idle_installations,
    "neighbour": neighbour,
    "workers": workers,
}
COMMITTED = Path(__file__).parent
ELSEWHERE = Path(".outlet/bench")
HEAD = (
    "Medians of rounds in which all contenders have their turn, each in a new process, on one broker, one PostgreSQL "
    "and the same events; a ratio is the median of the rounds' own ratios. What a contender has handled is compared "
    "with a model of the input: a run that lost or doubled an event gives no figure. Processor time and memory are "
    "those of all processes of a contender, Outlet's sandboxes included. Latency is from when an event was due to be "
    "sent to when all its effects are committed, at half the rate that the same process has just shown.",
    "The loyalty plugin on Outlet also keeps a replica of each sale and publishes an event for each award; the peers "
    "award the points and nothing more. How the peers are set up, and why, is said in `bench/contenders/`.",
)


async def measure(
    parts: Sequence[str], scale: Scale, say: Callable[[str], None], *, embedded: bool
) -> tuple[list[Findings], dict[str, str], list[str]]:
    """The findings, the machine they were made on, and which parts were refused."""
    described, found, refused = machine(), list[Findings](), list[str]()
    async with scratch() as directory, ground(directory, say, embedded=embedded) as grounds:
        described["broker"] = f"{grounds.broker.name}, {grounds.broker.partitions} partitions"
        described["PostgreSQL"] = f"{await grounds.databases.version()}, durable commits"
        for name in parts:
            say(f"{name} ...")
            try:
                found.append(await PARTS[name](grounds, scale))
            except Refused as error:
                refused.append(f"{name} is refused: {error}")
                say(refused[-1])
    return found, described, refused


def main() -> None:
    arguments = _arguments()
    whole = not arguments.small and not arguments.only
    folder: Path = arguments.out or (COMMITTED if whole else ELSEWHERE)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    begun = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {line}", file=sys.stderr, flush=True)

    scale = SMALL if arguments.small else WHOLE
    parts = arguments.only or list(PARTS)
    found, described, refused = asyncio.run(measure(parts, scale, say, embedded=arguments.embedded))
    size = f"Made by `make bench` ({'small' if arguments.small else 'full'} run)."
    write(folder, found, [size, *HEAD, *(f"**{line}**" for line in refused)], described)
    results = [each for part in found for each in part.results]
    if arguments.json:
        print(as_json(results))
    else:
        print("\n".join(f"{key}: {value}" for key, value in described.items()))
        print(table(results))
    say(f"written to {folder}")
    if refused:
        sys.exit("\n".join(refused))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--small", action="store_true", help="fewer and shorter runs")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these parts")
    parser.add_argument("--out", type=Path, help="the folder to write to")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--embedded", action="store_true", help="use the embedded broker even where there is Java")
    return parser.parse_args()


if __name__ == "__main__":
    main()
