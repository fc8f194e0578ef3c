"""What one plugin may use: what its manifest asks for, within what the operator allows."""

from dataclasses import dataclass

from outlet._frames import MAX_WHOLE_PAYLOAD, ProcessLimits
from outlet.manifest import Limits
from services.common.runtime_client import PluginFailed
from services.runtime.sandbox.rates import Allowance

MIB = 1024 * 1024
LIMIT_EXCEEDED = "plugin_limit_exceeded"

DEFAULT_MEMORY_MIB = 128
DEFAULT_CALL_CPU_SECONDS = 5.0
DEFAULT_BYTES_PER_SECOND = 16 * MIB
DEFAULT_LOG_LINES_PER_SECOND = 200

CPU_SECONDS_IN_A_LIFE = 60
"""A guest is replaced after half of this (or of twelve calls' worth), and killed when it has used it all before."""
LOG_BURST_SECONDS = 5


@dataclass(frozen=True, slots=True)
class OperatorLimits:
    """The most that a manifest can ask for. Units as in :class:`outlet.manifest.Limits`."""

    memory_mib: int = 512
    cpu_seconds: float = 30.0
    concurrency: int = 8
    bytes_per_second: int = 64 * MIB
    log_lines_per_second: int = 1_000


@dataclass(frozen=True, slots=True)
class GuestLimits:
    """What one guest may use."""

    memory_mib: int
    call_cpu_seconds: float
    concurrency: int
    bytes_per_second: int
    log_lines_per_second: int

    @property
    def life_cpu_seconds(self) -> int:
        return max(CPU_SECONDS_IN_A_LIFE, round(12 * self.call_cpu_seconds))

    @property
    def process(self) -> ProcessLimits:
        """The part that the guest is told, and the kernel holds."""
        return ProcessLimits(self.memory_mib * MIB, self.call_cpu_seconds, self.life_cpu_seconds)

    def bytes_allowance(self) -> Allowance:
        """Bytes from the guest: a second's worth, and one whole payload on top."""
        return Allowance(self.bytes_per_second, self.bytes_per_second + MAX_WHOLE_PAYLOAD)

    def log_allowance(self) -> Allowance:
        """Lines that the guest logs."""
        return Allowance(self.log_lines_per_second, LOG_BURST_SECONDS * self.log_lines_per_second)

    def memory_exceeded(self, stack: str = "") -> PluginFailed:
        return PluginFailed(LIMIT_EXCEEDED, f"memory: more than {self.memory_mib} MiB", stack)

    def cpu_exceeded(self, *, in_a_call: bool) -> PluginFailed:
        if in_a_call:
            return PluginFailed(LIMIT_EXCEEDED, f"cpu: more than {self.call_cpu_seconds:g} s in one call")
        return PluginFailed(LIMIT_EXCEEDED, f"cpu: {self.life_cpu_seconds} s used before the process could be replaced")

    def bytes_exceeded(self) -> PluginFailed:
        return PluginFailed(LIMIT_EXCEEDED, f"bytes: more than {self.bytes_per_second} bytes per second")

    def log_lines_exceeded(self) -> PluginFailed:
        return PluginFailed(LIMIT_EXCEEDED, f"log lines: more than {self.log_lines_per_second} per second")


def granted(wanted: Limits, allowed: OperatorLimits) -> GuestLimits:
    """The limits of a plugin: its manifest's, else the defaults, and never more than the operator allows."""
    return GuestLimits(
        memory_mib=min(wanted.memory_mib or DEFAULT_MEMORY_MIB, allowed.memory_mib),
        call_cpu_seconds=min(wanted.cpu_seconds or DEFAULT_CALL_CPU_SECONDS, allowed.cpu_seconds),
        concurrency=min(wanted.concurrency or allowed.concurrency, allowed.concurrency),
        bytes_per_second=min(wanted.bytes_per_second or DEFAULT_BYTES_PER_SECOND, allowed.bytes_per_second),
        log_lines_per_second=min(
            wanted.log_lines_per_second or DEFAULT_LOG_LINES_PER_SECOND, allowed.log_lines_per_second
        ),
    )
