"""Documents of what former installations left."""

from datetime import datetime
from typing import Literal

from services.common.wire import Document


class RetainedDocument(Document):
    """What one installation left when it was uninstalled; it is dropped when it expires."""

    installation_id: str
    plugin_id: str
    version: str
    store_id: str | None
    data: Literal["keep", "export"]
    uninstalled_at: datetime
    expires_at: datetime


class RetainedList(Document):
    """Newest first; 1,000 at most."""

    items: list[RetainedDocument]
