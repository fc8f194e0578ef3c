"""``python -m bench [--small]``: measures, prints a table, and writes results.md and results.json."""

import argparse
import asyncio
import logging

import structlog

from bench import guests
from bench.hooks import hooks
from bench.results import Result, machine, table, write


async def measure(*, small: bool) -> list[Result]:
    """Everything, one after the other: measurements that run beside each other measure each other."""
    runs = 3 if small else 7
    print("guests ...", flush=True)
    found = [
        await guests.starts(10 if small else 40),
        await guests.memory(10 if small else 40, runs),
        await guests.api_calls(runs, 1_000 if small else 5_000),
        await guests.walls(6 if small else 20, 6_400),
    ]
    print("hooks ...", flush=True)
    return [each for each in found if each is not None] + await hooks(runs, 10_000 if small else 20_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="fewer and shorter runs")
    small: bool = parser.parse_args().small
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    described = machine()
    results = asyncio.run(measure(small=small))
    write(results, described, small=small)
    print("\n".join(f"{key}: {value}" for key, value in described.items()))
    print(table(results))


if __name__ == "__main__":
    main()
