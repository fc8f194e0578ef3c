"""What the end of a guest says of its plugin."""

import signal

from outlet._frames import Exited
from outlet._guest.limits import OUT_OF_MEMORY
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox.errors import SandboxUnavailable
from services.runtime.sandbox.limits import LIMIT_EXCEEDED, GuestLimits


def load_failed(verdict: PluginFailed | None) -> Exception:
    """What is raised for a guest that ended while it was loading; None: nobody's fault."""
    if verdict is None:
        return SandboxUnavailable("the guest was ended while it was loading")
    if verdict.code == LIMIT_EXCEEDED:
        return PluginFailed(verdict.code, f"{verdict.message}, while loading", verdict.stack)
    return PluginFailed("plugin_load_failed", f"while loading: {verdict.message}", verdict.stack)


def verdict_on(ended: Exited, limits: GuestLimits) -> PluginFailed:
    """The failure that a process's exit is, by its status or signal and the CPU time that it used."""
    if ended.signal == signal.SIGPROF:
        return limits.cpu_exceeded(in_a_call=True)
    if ended.signal in (signal.SIGXCPU, signal.SIGKILL) and ended.cpu_seconds >= limits.life_cpu_seconds:
        return limits.cpu_exceeded(in_a_call=False)
    if ended.status == OUT_OF_MEMORY:
        return limits.memory_exceeded()
    return PluginFailed("plugin_exited", _how_it_ended(ended))


def _how_it_ended(ended: Exited) -> str:
    if ended.signal == signal.SIGSYS:
        return "the plugin's process was ended because it made a system call that the sandbox forbids"
    if not ended.signal:
        return f"the plugin's process ended with status {ended.status}"
    try:
        name = signal.Signals(ended.signal).name
    except ValueError:
        name = f"signal {ended.signal}"
    return f"the plugin's process was ended by {name}"
