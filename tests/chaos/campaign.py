"""One run: sales flow, faults strike one after the other, everything settles, and the model judges."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from outlet.local.scenario import CONSUMER_GROUP
from outlet.local.waiting import NotInTime, until, until_consumed
from outlet.samples import retailer, sales
from outlet.samples.records import Position
from services.common.database import DATABASE_ERRORS
from services.common.topics import EVENTS
from tests.chaos.faults.every import KINDS
from tests.chaos.faults.fault import Fault
from tests.chaos.findings import Findings, look, watching
from tests.chaos.flow import Flow
from tests.chaos.grounds import PARTITIONS, Grounds
from tests.chaos.ledger import Ledger
from tests.chaos.model import Input, Verdict, judge
from tests.chaos.plan import Injection, Plan
from tests.chaos.scale import Scale
from tests.e2e.topics import end_offsets

WATCH_SECONDS = 0.1
LOOK_SECONDS = 1.0
GOES_ON_WITHIN = 20.0
"""Seconds within which the platform must process sales again while a fault lasts that it is to live with."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Strike:
    """One injection as it went. Times are of `time.monotonic`."""

    fault: str
    struck_at: float
    ended_at: float = 0.0
    healed_at: float = 0.0
    """When what had been taken away was there again."""
    recovered_at: float | None = None
    stalled: bool = False
    """Whether nothing was processed while the fault lasted, although it should have been."""

    @property
    def recovery(self) -> float | None:
        """Seconds from the injection until what was sent after it was processed, from every partition."""
        return None if self.recovered_at is None else self.recovered_at - self.struck_at


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    strikes: list[Strike]
    ledger: Ledger
    findings: Findings
    verdict: Verdict


class Campaign:
    """Runs a plan on the grounds."""

    def __init__(self, grounds: Grounds, scale: Scale, plan: Plan, *, seed: int, say: Say) -> None:
        self._grounds = grounds
        self._scale = scale
        self._plan = plan
        self._say = say
        self._ledger = Ledger()
        self._sales = sales(retailer(seed=seed), scale.sales, seed=seed)
        self._flow = Flow(grounds.stack, self._sales, self._ledger, rate=scale.rate, seed=seed)
        self._faults: dict[str, Fault] = {kind.name: kind(grounds, self._flow, scale) for kind in KINDS}

    async def run(self) -> Outcome:
        """Everything, from the first sale to the verdict."""
        watching = asyncio.create_task(self._watch())
        flowing = asyncio.create_task(self._flow.run())
        try:
            strikes = [await self._strike(number, injection) for number, injection in enumerate(self._plan.injections)]
            self._flow.open_all()
            await asyncio.wait_for(flowing, self._scale.sales / self._scale.rate * 2 + self._scale.recovery)
            self._say(f"all {self._flow.sent:,} sales are acknowledged")
            return await self._settle(strikes)
        finally:
            for task in (flowing, watching):
                task.cancel()
            await asyncio.gather(flowing, watching, return_exceptions=True)

    async def _strike(self, number: int, injection: Injection) -> Strike:
        fault, rng = self._faults[injection.fault], random.Random(injection.seed)  # noqa: S311 - repeatable
        self._flow.open_stage((number + 1) * self._plan.stage, self._plan.stage)
        await self._flow.until_sent(number * self._plan.stage + injection.after)
        target = await fault.aim(rng)
        self._say(f"{fault.name}: {target}")
        await fault.inject()
        strike = Strike(fault.name, time.monotonic())
        recovering = asyncio.create_task(self._recovered(strike))
        try:
            if fault.goes_on:
                await asyncio.wait([recovering], timeout=GOES_ON_WITHIN)
                strike.stalled = not recovering.done()
            await asyncio.sleep(max(0.0, strike.struck_at + fault.holds - time.monotonic()))
        finally:
            await fault.heal()
        strike.healed_at = time.monotonic()
        await recovering
        strike.ended_at = time.monotonic()
        self._say(f"{fault.name}: {_account(strike)}{', stalled while it lasted' if strike.stalled else ''}")
        return strike

    async def _recovered(self, strike: Strike) -> None:
        async def again() -> bool:
            strike.recovered_at = self._ledger.recovered_at(strike.struck_at, range(PARTITIONS))
            return strike.recovered_at is not None

        try:
            await until(again, within=self._scale.recovery, what="sales are processed again")
        except NotInTime as late:
            self._say(str(late))

    async def _watch(self) -> None:
        """Look again and again which sales have been processed, until cancelled."""
        while True:
            # A database that is away is one of the faults; what is waited for is seen once it is back.
            with contextlib.suppress(*DATABASE_ERRORS, TimeoutError):
                async with watching(self._grounds) as processed:
                    while True:
                        self._ledger.process(await processed(list(self._ledger.waiting)))
                        await asyncio.sleep(WATCH_SECONDS)
            await asyncio.sleep(WATCH_SECONDS)

    async def _settle(self, strikes: list[Strike]) -> Outcome:
        """Wait until the model lacks nothing, or the time is up; then count what is lost, and what came twice."""
        looks = 0

        async def complete() -> bool:
            nonlocal looks
            if looks:
                await asyncio.sleep(LOOK_SECONDS)  # everything is much to look at
            looks += 1
            return judge(self._input(), await look(self._grounds)).lost == 0

        end = time.monotonic() + self._scale.settle
        try:
            await self._until_consumed(self._scale.settle)
            await until(complete, within=max(1.0, end - time.monotonic()), what="every effect has come")
        except NotInTime as late:
            self._say(str(late))
        found = await look(self._grounds)  # again: what came after the last look may have come a second time
        return Outcome(strikes, self._ledger, found, judge(self._input(), found))

    async def _until_consumed(self, within: float) -> None:
        positions = await self._ends()
        await until_consumed(self._grounds.kafka.bootstrap, CONSUMER_GROUP, positions, within=within)

    async def _ends(self) -> list[Position]:
        ends = await end_offsets(self._grounds.kafka.bootstrap, [EVENTS["sale"].name])
        return [Position(place.topic, place.partition, end - 1) for place, end in ends.items() if end > 0]

    def _input(self) -> Input:
        return Input(
            sales={event: entry.sale for event, entry in self._ledger.entries.items()},
            settings=self._grounds.settings,
            scheduled_since=self._grounds.scheduled_since,
            looked_at=datetime.now(UTC),
        )


def _account(strike: Strike) -> str:
    if strike.recovered_at is None:
        return "not recovered"
    beyond = strike.recovered_at - strike.healed_at
    after = f", {beyond:.1f} s after it was over" if beyond > 0 else ""
    return f"recovered after {strike.recovery:.1f} s{after}"
