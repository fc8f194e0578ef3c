"""The answer to an injection-point query, in camelCase JSON."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class _Schema(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class ComponentView(_Schema):
    """One component of an active installation.

    ``route`` is the public path of the route that feeds it, ``{parameters}`` and all; ``store`` is the store that the
    installation is limited to.
    """

    plugin_id: str
    installation_id: str
    version: str
    name: str
    title: str
    priority: int
    route: str | None
    store: str | None


class InjectionPointView(_Schema):
    """What belongs on one injection point, in the order of display."""

    injection_point: str
    components: list[ComponentView]
