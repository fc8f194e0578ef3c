"""Settings: read from the guest's own copy, changed here.

The registry alone writes configurations. It hears of a change from the transaction that made it: as the result of a
lifecycle hook, which it waits for, and through the outbox from everywhere else.
"""

import json
import uuid
from typing import Any

import anyio.to_thread
import msgspec

from outlet._rules.configuration import as_published, refuse_faults
from outlet._rules.validation import check_work
from services.common.json_schema import Fault
from services.common.outbox import INSERT
from services.common.setting_changes import SettingChange, encode_change
from services.common.settings_schema import MAX_CONFIG_BYTES, config_faults
from services.common.topics import CONFIGURATION
from services.runtime.plugin_api.documents import encode_document
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Context, Group, method

CHANGES = uuid.UUID("0d6f2c1e-7a44-5a0b-8f53-1b1f5f0c9d27")  # namespace of the ids of changes


class SetConfig(Arguments):
    key: str
    value: Any


class Configuration(Group):
    """``config.set``, one setting at a time, each change checked against the plugin's own schema."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._changes = 0

    @method("config.set", SetConfig)
    async def set(self, call: SetConfig) -> None:
        if self.work.nested:
            raise ApiRefusal("not_allowed_here", "the configuration is set outside of api.transaction()")
        manifest = self.installation.manifest
        secrets = manifest.secret_settings()
        if call.key in secrets:
            raise ApiRefusal("secret_setting", f"{call.key!r} is a secret: the organization sets it, not the plugin")
        text = encode_document(call.value, limit=MAX_CONFIG_BYTES)
        present = self.installation.config if self.context.config is None else self.context.config
        changed = {**present, call.key: as_published(text)}
        await self._check(changed, secrets)
        if self.invocation.kind != "lifecycle":
            await self._send(call.key, text)
        self.context.config = changed

    async def _check(self, config: dict[str, Any], secrets: tuple[str, ...]) -> None:
        schema = self.installation.manifest.settings_schema
        check_work(schema, config, encode_document(config, limit=MAX_CONFIG_BYTES))
        sealed = [name for name in secrets if name in config]

        def faults() -> list[Fault]:
            return config_faults(config, schema, secrets=secrets, sealed=sealed)

        try:
            found = await anyio.to_thread.run_sync(faults, limiter=self.context.resources.validating)
        except ArithmeticError as error:
            raise ApiRefusal("invalid_config", f"a number is too large or too small to compare: {error!r}") from error
        refuse_faults(found)

    async def _send(self, key: str, text: str) -> None:
        # The same attempt of the same cause sends the same ids, so the registry recognises a repetition.
        name = json.dumps([*self.invocation.key.row(), self._changes])
        self._changes += 1
        change = SettingChange(
            id=str(uuid.uuid5(CHANGES, name)),
            installation_id=self.installation.id,
            organization_id=self.installation.organization_id,
            key=key,
            value=msgspec.Raw(text.encode()),
            during=self.invocation.target,
        )
        async with self.work.use(writes=True) as connection:
            await connection.execute(INSERT, CONFIGURATION.name, self.installation.id, encode_change(change), "{}")
