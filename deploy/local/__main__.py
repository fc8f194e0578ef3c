"""The three real parts from the command line.

``python -m deploy.local up`` runs them until Ctrl-C and prints the variables that make Outlet use them;
``python -m deploy.local fetch`` only downloads what they need.
"""

import argparse
import asyncio
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg

from deploy.local import Kafka, Postgres, Redis
from deploy.local.kafka import fetch_jars
from outlet.local.errors import PlatformError

_REGISTRY, _RUNTIME = "outlet_registry", "outlet_runtime"


async def up(directory: Path) -> None:
    """Start all parts with their data in `directory`, print the variables, and stop everything at SIGINT or SIGTERM."""
    task = asyncio.current_task()
    if task is not None:  # SIGINT cancels the main task by itself; the parts then stop on the way out
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    kafka, postgres, redis = Kafka(directory / "kafka"), Postgres(directory / "postgres"), Redis(directory / "redis")
    async with AsyncExitStack() as parts:
        for part in (redis, postgres, kafka):
            say(f"# starting {part.name} ...")
            await parts.enter_async_context(part)
        await _make_databases(postgres)
        say(f"export OUTLET_KAFKA_BOOTSTRAP={kafka.bootstrap}")
        say(f"export OUTLET_REGISTRY_DATABASE_URL={postgres.dsn(_REGISTRY)}")
        say(f"export OUTLET_RUNTIME_DATABASE_URL={postgres.dsn(_RUNTIME)}")
        say(f"export OUTLET_REDIS_URL={redis.url}")
        say(f"# data and logs are in {directory}; Ctrl-C stops all three")
        await asyncio.Event().wait()


async def _make_databases(postgres: Postgres) -> None:
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    present = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    await connection.close()
    for name in {_REGISTRY, _RUNTIME} - present:
        await postgres.create_database(name)


def say(line: str) -> None:
    """Print one line at once, also into a pipe."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the command line and run it; exit 1 with a message when a part cannot be started."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local", description="Real Kafka, PostgreSQL and Redis on loopback."
    )
    parser.add_argument("command", choices=["up", "fetch"])
    parser.add_argument("--directory", type=Path, default=Path(".outlet/real"), help="where data and logs are kept")
    arguments = parser.parse_args()
    try:
        asyncio.run(fetch_jars() if arguments.command == "fetch" else up(arguments.directory.absolute()))
    except PlatformError as error:
        sys.exit(f"{error}\n{error.remedy}".rstrip())
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("# stopped")


if __name__ == "__main__":
    main()
