"""``notices.send``: a message to one user, shown by the screens that the user has open."""

import json
import uuid
from datetime import UTC, datetime
from typing import Literal

from outlet._rules.notices import PERMISSION, check_notice
from services.common.events import ORGANIZATION_WIDE, DomainEvent
from services.common.topics import NOTIFICATION_SENT, NOTIFICATIONS
from services.runtime.invocation import source_of
from services.runtime.plugin_api.errors import ApiRefusal
from services.runtime.plugin_api.groups import Arguments, Context, Group, method
from services.runtime.plugin_api.outgoing import publish

SENT = uuid.UUID("0f5f1f39-2c1f-5c6c-9a51-8f8a3d1f0b3e")  # namespace of the ids of notifications


class Notify(Arguments):
    user: str
    title: str
    message: str
    type: Literal["info", "success", "warning", "error"] = "info"


class Notices(Group):
    """Notifications of one attempt; they leave when it is committed."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sent = 0

    @method("notices.send", Notify)
    async def send(self, call: Notify) -> None:
        if PERMISSION not in self.installation.grants:
            raise ApiRefusal("permission_denied", f"the organization has not granted {PERMISSION}, or nobody asked")
        check_notice(call.user, call.title, call.message)
        number = self._sent = self._sent + 1
        event = DomainEvent(
            id=str(uuid.uuid5(SENT, "\0".join([*self.invocation.key.row(), str(number)]))),
            type=NOTIFICATION_SENT,
            source=source_of(self.installation),
            time=datetime.now(UTC).isoformat(),
            organization=self.installation.organization_id,
            store=self.invocation.store or ORGANIZATION_WIDE,
            data=_document(self.installation.plugin_id, call),
        )
        async with self.work.use(writes=True) as connection:
            await publish(connection, NOTIFICATIONS.name, event, call.user)


def _document(plugin_id: str, call: Notify) -> bytes:
    document = {
        "pluginId": plugin_id,
        "userId": call.user,
        "title": call.title,
        "message": call.message,
        "type": call.type,
    }
    try:
        return json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ApiRefusal("invalid_value", "a notification is text: half a surrogate pair is none") from error
