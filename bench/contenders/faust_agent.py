"""The peer: a Faust agent that calls the plugin's function in its own process.

Run as ``python -m bench.contenders.faust_agent BOOTSTRAP TOPIC COUNT``.
"""

import importlib
import os
import sys
import uuid
from pathlib import Path
from typing import Any

import faust

from bench.contenders.report import Stopwatch

PLUGIN = Path(__file__).parents[1] / "plugin"


def main(bootstrap: str, topic: str, count: int) -> None:
    sys.path.insert(0, str(PLUGIN))
    ignore = importlib.import_module("bench_plugin").ignore

    app = faust.App(
        f"bench-{uuid.uuid4().hex}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
    )
    source = app.topic(topic, key_serializer="raw", value_serializer="json")
    stopwatch = Stopwatch(count)

    @app.agent(source)
    async def handle(stream: Any) -> None:
        async for event in stream:
            await ignore(None, event)
            if stopwatch.event():
                stopwatch.report()
                os._exit(0)  # Faust's own way out takes seconds

    faust.Worker(app, quiet=True, loglevel="ERROR", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
