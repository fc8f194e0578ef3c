"""What came of a lifecycle hook, and what the caller is told of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from services.common.directory import Installation
from services.common.errors import BadGateway, GatewayTimeout, Unavailable, Unprocessable
from services.common.runtime_client import LifecycleHook
from services.registry.configuration import complete_config
from services.registry.scopes.resolution import check_variants

SHOWN_MESSAGE = 500  # characters


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The hook ran. ``config`` is the whole configuration after it, or None when it did not change it.

    ``base`` is the configuration that the hook was given.
    """

    config: dict[str, Any] | None = None
    base: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The hook failed, by the plugin's or the platform's fault; what it stored was rolled back."""

    source: Literal["plugin", "platform"]
    code: str
    message: str
    stack: str = ""

    @property
    def summary(self) -> str:
        """One line without the stack."""
        return f"{self.code}: {self.message[:SHOWN_MESSAGE]}"


@dataclass(frozen=True, slots=True)
class Unreached:
    """No worker was reached; the hook did not run."""

    error: Unavailable


Outcome = Succeeded | Failed | Unreached


class LifecycleHookFailed(BadGateway):
    """The plugin's own failure in a lifecycle hook."""

    code = "lifecycle_hook_failed"
    remedy = "Read the installation's errors, correct the plugin or its configuration, and try again."


async def read_config(data: bytes, installation: Installation) -> Succeeded | Failed:
    """Success with the configuration that a hook answered; a failure of the plugin when it breaks its own schema.

    Secrets are those of the ``installation`` that the hook was given: no hook sets or removes one.
    """
    manifest, base = installation.manifest, installation.config
    secrets = manifest.secret_settings()
    own = {name: base[name] for name in secrets if name in base}
    try:
        answered = msgspec.json.decode(data, type=dict[str, Any])
        config = {name: value for name, value in answered.items() if name not in secrets} | own
        completed = await complete_config(config, manifest.settings_schema, secrets=secrets, sealed=own)
        await check_variants(completed, manifest, installation.variants)
        return Succeeded(completed, base)
    except (msgspec.DecodeError, RecursionError) as error:
        return Failed("plugin", "plugin_bad_result", f"The hook set a configuration that is no JSON object: {error}")
    except Unprocessable as error:
        return Failed("plugin", "plugin_bad_result", f"{error.detail} {error.members['errors']}")


def raise_failure(outcome: Outcome, installation_id: str, hook: LifecycleHook) -> None:
    """Raise the problem that the caller gets: 502, 503 or 504; nothing after success."""
    match outcome:
        case Unreached(error):
            raise error
        case Failed("platform", "deadline_exceeded", message):
            raise GatewayTimeout(message, code="deadline_exceeded", installationId=installation_id, hook=hook.value)
        case Failed(source, code, message):
            raise LifecycleHookFailed(
                f"{hook.value} failed: {outcome.summary}",
                source=source,
                pluginCode=code,
                pluginMessage=message[:SHOWN_MESSAGE],
                installationId=installation_id,
                hook=hook.value,
            )
