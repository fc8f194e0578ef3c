"""How strong the walls of this worker's guests are, tried out on a guest that runs nothing."""

import asyncio

from outlet._frames import PROTOCOL, Confined, Exited, FrameError, GuestFrame, Load, LoadFailed, Tier
from outlet.manifest import Limits
from services.runtime.sandbox.errors import SandboxUnavailable
from services.runtime.sandbox.launcher import Zygote
from services.runtime.sandbox.limits import OperatorLimits, granted
from services.runtime.sandbox.stream import GuestStream

TRIAL_SECONDS = 10.0

MEANING: dict[Tier, str] = {
    "A": "limits, seccomp, Landlock for files, network, signals and abstract sockets",
    "B": "limits and seccomp; Landlock is missing or does not cover everything",
    "C": "limits and Landlock; no seccomp",
    "D": "limits alone: a plain process",
}


class SandboxTooWeak(Exception):
    """The walls that this system allows are weaker than the operator wants."""


def suffices(tier: Tier, minimum: Tier) -> bool:
    """Whether a tier is as strong as ``minimum``, or stronger."""
    return tier <= minimum


async def detect_tier(zygote: Zygote) -> Tier:
    """Let the zygote make a guest, and see which walls hold around it. Raises SandboxUnavailable."""
    answer: asyncio.Future[Tier] = asyncio.get_running_loop().create_future()

    def fail(why: str) -> None:
        if not answer.done():
            answer.set_exception(SandboxUnavailable(f"the sandbox cannot be tried: {why}"))

    def receive(frame: GuestFrame) -> None:
        match frame:
            case Confined() if not answer.done():
                answer.set_result(frame.tier)
            case LoadFailed():
                fail(frame.message)
            case Exited():
                fail(f"the guest ended with status {frame.status}, signal {frame.signal}")
            case _:
                raise FrameError(f"{type(frame).__name__} at the wrong time")

    limits = granted(Limits(), OperatorLimits())
    stream, _ = await zygote.connect(
        lambda: GuestStream(
            receive, fail, lambda: fail("it ended"), lambda: fail("it sent too much"), limits.bytes_allowance()
        )
    )
    try:
        stream.send(Load(PROTOCOL, "", 0, limits.process))
        async with asyncio.timeout(TRIAL_SECONDS):
            return await answer
    except TimeoutError:
        raise SandboxUnavailable(f"the sandbox cannot be tried: no answer within {TRIAL_SECONDS:g} s") from None
    finally:
        stream.close()


async def require_tier(zygote: Zygote, minimum: Tier) -> Tier:
    """The tier of this worker. Raises :class:`SandboxTooWeak` below ``minimum``."""
    tier = await detect_tier(zygote)
    if not suffices(tier, minimum):
        raise SandboxTooWeak(
            f"the sandbox has tier {tier} ({MEANING[tier]}) and OUTLET_SANDBOX_MINIMUM wants {minimum} "
            f"({MEANING[minimum]}): run on Linux 5.13 or later with seccomp, let the container's own profile allow "
            "Landlock, or lower the minimum"
        )
    return tier
