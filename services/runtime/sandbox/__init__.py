"""Runs plugins in processes of their own."""

from outlet._guest.linux import hide_from_other_processes
from services.runtime.sandbox.errors import PluginInterrupted, SandboxUnavailable
from services.runtime.sandbox.feeding import HookSource
from services.runtime.sandbox.invocation import ApiHandler, Delivery, GuestCall, RunningCall, ScopeData
from services.runtime.sandbox.launcher import Zygote
from services.runtime.sandbox.limits import OperatorLimits
from services.runtime.sandbox.payloads import (
    RouteRequest,
    UpdateRequest,
    hook_payload,
    read_route_result,
    route_payload,
    update_payload,
)
from services.runtime.sandbox.pool import GuestKey, SandboxPool
from services.runtime.sandbox.tiers import MEANING, SandboxTooWeak, detect_tier, require_tier, suffices

__all__ = [
    "MEANING",
    "ApiHandler",
    "Delivery",
    "GuestCall",
    "GuestKey",
    "HookSource",
    "OperatorLimits",
    "PluginInterrupted",
    "RouteRequest",
    "RunningCall",
    "SandboxPool",
    "SandboxTooWeak",
    "SandboxUnavailable",
    "ScopeData",
    "UpdateRequest",
    "Zygote",
    "detect_tier",
    "hide_from_other_processes",
    "hook_payload",
    "read_route_result",
    "require_tier",
    "route_payload",
    "suffices",
    "update_payload",
]
