"""Processes of the platform that die, or stop for a while and go on as if nothing had happened."""

import contextlib
import os
import random
import signal
from functools import partial

import psutil

from outlet.local.scenario import PLUGIN_ID
from outlet.local.waiting import until
from services.common.outbox import RELAY_LOCK
from tests.chaos.database import held_lock
from tests.chaos.faults.fault import Fault
from tests.chaos.grounds import BYSTANDER
from tests.e2e.support import zygotes

TARGET_SECONDS = 30.0
"""How long a target may take to be there: it may be starting after an earlier strike."""
RESTART_SECONDS = 60.0


class _Killed(Fault):
    """SIGKILL to one of some processes, drawn when the fault strikes."""

    async def aim(self, rng: random.Random) -> str:
        self._pids: list[int] = []

        async def there() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended; look again
                self._pids = self.targets()
            return bool(self._pids)

        await until(there, within=TARGET_SECONDS, what=f"there is something to strike: {self.name}")
        self._pid = rng.choice(sorted(self._pids))
        return f"pid {self._pid}"

    async def inject(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself since
            os.kill(self._pid, signal.SIGKILL)

    def targets(self) -> list[int]:
        """The pids to choose from now."""
        raise NotImplementedError

    def zygotes(self) -> list[psutil.Process]:
        """The zygotes of all workers."""
        return [zygote for pid in self.grounds.workers().values() for zygote in zygotes(pid)]


class WorkerKilled(_Killed):
    name = "worker killed"

    def targets(self) -> list[int]:
        return list(self.grounds.workers().values())


class ZygoteKilled(_Killed):
    name = "zygote killed"

    def targets(self) -> list[int]:
        return [zygote.pid for zygote in self.zygotes()]


class GuestKilled(_Killed):
    name = "plugin process killed"

    def targets(self) -> list[int]:
        return [guest.pid for zygote in self.zygotes() for guest in zygote.children()]


class GatewayKilled(_Killed):
    name = "gateway killed"

    def targets(self) -> list[int]:
        return [pid for pid in self.grounds.stack.pids["gateway"] if pid is not None]


class WorkersRestarted(Fault):
    """A rolling restart: each worker in turn is told to stop, as Kubernetes does, and is back before the next one."""

    name = "workers restarted in turn"

    async def aim(self, rng: random.Random) -> str:
        await self.grounds.until_workers_share()
        self._names = rng.sample(sorted(self.grounds.workers()), k=len(self.grounds.workers()))
        return ", ".join(self._names)

    async def inject(self) -> None:
        self._stop(self._names[0])

    async def heal(self) -> None:
        for name, following in zip(self._names, [*self._names[1:], None], strict=True):
            await until(partial(self._is_back, name), within=RESTART_SECONDS, what=f"{name} runs again")
            await self.grounds.until_workers_share()
            if following:
                self._stop(following)

    def _stop(self, name: str) -> None:
        self._pid = self.grounds.workers()[name]
        os.kill(self._pid, signal.SIGTERM)

    async def _is_back(self, name: str) -> bool:
        return self.grounds.workers().get(name, self._pid) != self._pid


class RegistryKilled(_Killed):
    """The registry dies right after it has acknowledged a change: between its commit and its publication, every time
    that the coin says so, because its relay is kept from publishing until then."""

    name = "registry killed"

    def targets(self) -> list[int]:
        return [pid for pid in self.grounds.stack.pids["registry"] if pid is not None]

    async def aim(self, rng: random.Random) -> str:
        await self.grounds.stack.ready("registry")
        self._unpublished = rng.random() < 0.7
        target = await super().aim(rng)
        return f"{target}, {'before' if self._unpublished else 'about when'} it has published a change"

    async def inject(self) -> None:
        async with contextlib.AsyncExitStack() as held:
            if self._unpublished:
                url = self.grounds.stack.database_urls["registry"]
                await held.enter_async_context(held_lock(url, RELAY_LOCK))
            await self._change_setting()
            await super().inject()

    async def _change_setting(self) -> None:
        setting = len(self.grounds.settings) + 1
        place = f"/api/plugins/{self.grounds.installations[BYSTANDER]}/config"

        async def acknowledged() -> bool:
            answer = await self.grounds.bystander.ask("PUT", place, json={"config": {"pointsPerDollar": setting}})
            if answer.is_client_error:
                raise RuntimeError(f"the registry refused a setting of {PLUGIN_ID}: {answer.text}")
            return answer.is_success

        await until(acknowledged, within=TARGET_SECONDS, what="a setting is changed")
        self.grounds.settings.append(setting)


class WorkerFrozen(Fault):
    """A worker that Kafka takes for dead wakes up and finds its work in other hands."""

    name = "worker frozen"

    @property
    def holds(self) -> float:
        return self.scale.session_timeout + 1.5

    async def aim(self, rng: random.Random) -> str:
        async def there() -> bool:
            return bool(self.grounds.workers())

        await until(there, within=TARGET_SECONDS, what="a worker runs")
        name, self._pid = rng.choice(sorted(self.grounds.workers().items()))
        return f"{name}, pid {self._pid}"

    async def inject(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    async def heal(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # the kernel may have ended it
            os.kill(self._pid, signal.SIGCONT)
