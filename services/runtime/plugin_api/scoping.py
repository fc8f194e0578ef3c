"""What every statement of a plugin is bound to: the first wall, which row-level security stands under."""

from services.common.events import ORGANIZATION_WIDE
from services.runtime.isolation import Scope
from services.runtime.plugin_api.where import Parameters


def installation_rows(installation_id: str, parameters: Parameters) -> str:
    """The condition that a row of a custom table is the installation's."""
    return f"installation_id = {parameters.add(installation_id)}"


def entity_rows(scope: Scope, parameters: Parameters) -> str:
    """The condition that an entity is of the organization, and of its one store unless all of them are meant."""
    organization = f"organization_id = {parameters.add(scope.organization)}"
    if scope.store == ORGANIZATION_WIDE:
        return organization
    return f"{organization} AND store_id = {parameters.add(scope.store)}"
