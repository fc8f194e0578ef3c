"""Documents of regions, overrides, and what is in effect in a place."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import Field, StringConstraints

from services.common.wire import Document, Line
from services.registry.installations.schemas import Request
from services.registry.scopes.models import InstallationOverride
from services.registry.secret_settings import masked

MAX_STORES = 5_000

RegionId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class RegionRequest(Request):
    """A region as it is to be."""

    name: Line
    stores: list[Line] = Field(max_length=MAX_STORES, description="All of its stores; none may be in another region.")


class RegionDocument(Document):
    """A named group of stores."""

    id: str
    name: str
    stores: list[str]


class RegionList(Document):
    """The regions of an organization, by their ids."""

    items: list[RegionDocument]


class OverrideRequest(Request):
    """What is to be otherwise in a place; all that was before is replaced."""

    config: dict[str, Any] = Field(
        default_factory=dict, description='Settings that differ; {"set": true} keeps a secret that is overridden here.'
    )
    removed: list[Line] = Field(
        default_factory=list, description="Settings that are not set here; one with a default has its default."
    )
    grants: dict[Line, bool] = Field(
        default_factory=dict, description="Whether a permission that the plugin asks for is granted here."
    )


class OverrideDocument(Document):
    """What an installation has otherwise in one region or store."""

    level: Literal["region", "store"]
    place_id: str
    config: dict[str, Any] = Field(description='A secret that is set shows as {"set": true}.')
    removed: list[str]
    grants: dict[str, bool]

    @classmethod
    def of(cls, override: InstallationOverride, secrets: Collection[str]) -> Self:
        document = cls.model_validate(override)
        return document.model_copy(update={"config": masked(override.config, secrets)})


class OverrideList(Document):
    """The overrides of one installation, the regions' first; with a store's token, those in effect in the store."""

    items: list[OverrideDocument]


class EffectiveSetting(Document):
    """A setting's value in a place, and who decided on it."""

    value: Any = Field(description='A secret that is set shows as {"set": true}.')
    origin: str = Field(description="default, organization, region:ID or store:ID.")


class EffectiveGrant(Document):
    """Whether a permission is granted in a place, and who decided on it."""

    granted: bool
    origin: str = Field(description="organization, region:ID or store:ID.")


class EffectiveDocument(Document):
    """What is in effect in one store, or where nothing is overridden."""

    installation_id: UUID
    revision: int
    store_id: str | None
    region_id: str | None = Field(description="The region that the store is in.")
    settings: dict[str, EffectiveSetting]
    grants: dict[str, EffectiveGrant]
