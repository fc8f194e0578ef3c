"""What a worker holds for all invocations, as tests need it."""

from typing import Any

from services.runtime.plugin_api.groups import Resources
from services.runtime.plugin_api.tables import TableCatalog


def resources(**changes: Any) -> Resources:
    """Resources of one's own, with ``changes``."""
    return Resources(**({"tables": TableCatalog()} | changes))
