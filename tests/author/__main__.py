"""`make author-loop`: prints what the loop took; its last line is AUTHOR and the figures as JSON."""

import asyncio
import tempfile
from pathlib import Path

from tests.author.loop import run, summary

with tempfile.TemporaryDirectory() as place:
    outcome = asyncio.run(run(Path(place)))
for name, milliseconds in outcome.milliseconds.items():
    print(f"outlet {name:<8} {milliseconds:>7,} ms")
print(f"live on a real sale after {outcome.seconds} s; a save is live after {outcome.reload_ms} ms")
print(summary(outcome))
