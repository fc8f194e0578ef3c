"""A contender under measurement: the processes that share one consumer group, and what they say they have handled."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.contenders.task import Task
from bench.feed import Feed
from bench.processes import processor_seconds, resident_mib
from bench.refusal import Refused
from bench.workload import WARM_UP, Document, Workload, digest

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
ANSWER_SECONDS = 10.0
END_SECONDS = 5.0
SLOWEST = 0.9
"""The least share of the rate asked for that still counts as that rate."""
LOG_TAIL = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """Many events that waited: how many a second were handled, and the processor seconds that all of them took."""

    rate: float
    processor_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """From when an event was due to when all it caused was done, in seconds; ``rate`` came in a second."""

    rate: float
    p50: float
    p99: float


class Contender:
    """``patience``: seconds for the events of one measurement; whoever needs longer has lost some."""

    def __init__(self, name: str, members: Sequence["Member"], workload: Workload, patience: float) -> None:
        self.name = name
        self.members = members
        self._workload = workload
        self._patience = patience

    @property
    def pids(self) -> list[int]:
        return [member.pid for member in self.members]

    async def assigned(self, partitions: int) -> None:
        """Wait until all partitions are read, each by one of the processes, and each process reads some.

        Raises Refused when that takes too long.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                while True:
                    shares = [set(member.partitions) for member in self.members]
                    together = set().union(*shares)
                    if all(shares) and len(together) == sum(map(len, shares)) == partitions:
                        return
                    await self._reassigned()
        except TimeoutError:
            raise Refused(f"{self.name} reads {[member.partitions for member in self.members]} only") from None

    async def burst(self, feed: Feed, documents: Sequence[Document]) -> Burst:
        """Measure how fast events are handled that are there already.

        The contender is stopped while they are put on Kafka: so the producer takes nothing from it, and yet they are
        events that came after it had joined its group. Raises Refused unless each of them is handled once.
        """
        await self._begin("begin")
        self._signal(signal.SIGSTOP)
        try:
            placed = await asyncio.to_thread(feed.burst, self._workload, documents)
            before = processor_seconds(self.pids)
            for member in self.members:
                member.expect(sum(placed[partition] for partition in member.partitions))
        finally:
            self._signal(signal.SIGCONT)
        found = await self._counted(documents)
        spent = processor_seconds(self.pids) - before
        working = [each for each in found if each["handled"]]
        seconds = max(each["ended"] for each in working) - min(each["began"] for each in working)
        return Burst(rate=(len(documents) - 1) / seconds, processor_seconds=spent)

    async def warm_burst(self, feed: Feed, documents: Sequence[Document]) -> Burst:
        """Measure what comes after the first few of these, which only set everything up."""
        await self.burst(feed, documents[:WARM_UP])
        return await self.burst(feed, documents[WARM_UP:])

    async def paced(self, feed: Feed, documents: Sequence[Document], rate: float) -> Latency:
        """Measure how long events take that come at a steady rate; for a contender of one process."""
        (member,) = self.members
        await self._begin("begin timed")
        member.expect(len(documents))
        reached = await asyncio.to_thread(feed.paced, self._workload, documents, rate)
        (found,) = await self._counted(documents)
        return Latency(rate=reached, p50=found["p50"], p99=found["p99"])

    def memory_mib(self) -> float | None:
        """See :func:`bench.processes.resident_mib`."""
        return resident_mib(self.pids)

    async def _begin(self, command: str) -> None:
        for member in self.members:
            member.say(command)
            await member.answer("begun", ANSWER_SECONDS)

    async def _counted(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(self._patience):
                found = await asyncio.gather(*(member.answer("handled", None) for member in self.members))
        except TimeoutError:
            for member in self.members:
                member.say("tell")
            found = [await member.answer("handled", ANSWER_SECONDS) for member in self.members]
        handled = sum(each["handled"] for each in found)
        if handled != len(documents):
            raise Refused(f"{self.name} handled {handled:,} of {len(documents):,} events in {self._patience:g} s")
        if sum(each["digest"] for each in found) != digest(documents):
            raise Refused(f"{self.name} handled {handled:,} events, and they are not the ones that were sent")
        return found

    async def _reassigned(self) -> None:
        waiting = [asyncio.ensure_future(member.reassigned()) for member in self.members]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in waiting:
                each.cancel()

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            os.kill(pid, number)


class Member:
    """One process of a contender."""

    def __init__(self, process: Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())
        self.partitions: list[int] = []

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")

    def expect(self, count: int) -> None:
        """Have it answer once it has handled so many."""
        self.say(f"expect {count}")

    async def answer(self, kind: str, seconds: float | None) -> dict[str, Any]:
        """The next answer, of this kind. Raises Refused when the process has ended, or does not answer in time."""
        asking = asyncio.create_task(self._answers.get())
        try:
            await asyncio.wait([asking, self._reading], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise Refused(f"a process has ended or does not answer: {self._tail()}")
            found = asking.result()
        finally:
            asking.cancel()
        if kind not in found:
            raise Refused(f"{kind} was asked for, the answer is {found}")
        return found

    async def reassigned(self) -> None:
        """Wait until it says which partitions it reads, once more. Raises Refused when it has ended."""
        waiting = asyncio.create_task(self._changed.wait())
        try:
            await asyncio.wait([waiting, self._reading], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise Refused(f"a process has ended: {self._tail()}")
        finally:
            waiting.cancel()
        self._changed.clear()

    async def end(self) -> None:
        """Hang up, on which it ends at once."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            said = json.loads(line)
            if "assigned" in said:
                self.partitions = said["assigned"]
                self._changed.set()
            else:
                self._answers.put_nowait(said)

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-LOG_TAIL:]


@asynccontextmanager
async def running(
    module: str, tasks: Sequence[tuple[Task, Mapping[str, str]]], log: Path
) -> AsyncIterator[list[Member]]:
    """A process for each task, with its environment; what they log goes to ``log``."""
    members: list[Member] = []
    try:
        with log.open("ab") as file:
            for task, environment in tasks:
                members.append(await _start(module, task, environment, log, file.fileno()))
        yield members
    finally:
        await asyncio.gather(*(member.end() for member in members))


async def _start(module: str, task: Task, environment: Mapping[str, str], log: Path, file: int) -> Member:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, msgspec.json.encode(task).decode()),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        stderr=file,
        env=dict(environment),
        limit=1024 * 1024,
    )
    return Member(process, log)
