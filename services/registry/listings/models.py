"""The table of listings: what the marketplace knows of a plugin beside its versions."""

from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, ForeignKey, Index, Integer, Numeric, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlmodel import Field

from services.registry.models import RegistryModel

NO_RATINGS = "{0,0,0,0,0}"


class Listing(RegistryModel, table=True):
    """One plugin in the marketplace.

    Triggers (migration 0008) make it with the plugin's first version, and keep what it says of the latest one:
    ``search`` holds its words by weight, ``names`` what is compared where a search has a typing error.
    """

    __tablename__ = "plugin_listing"
    __table_args__: ClassVar[Any] = (
        Index("plugin_listing_search", "search", postgresql_using="gin"),
        Index("plugin_listing_names", "names", postgresql_using="gin", postgresql_ops={"names": "gin_trgm_ops"}),
    )

    plugin_id: str = Field(sa_column=Column(ForeignKey("plugin.id", ondelete="CASCADE"), primary_key=True))
    name: str
    category: str
    price: str
    published_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    search: str = Field(sa_type=TSVECTOR)
    names: str = Field(sa_type=Text)
    featured: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    downloads: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    ratings: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False, server_default=NO_RATINGS))
    """How many shown reviews gave 1, 2, 3, 4 and 5."""
    score: Decimal = Field(sa_column=Column(Numeric, nullable=False, server_default="3.5"))
    """For sorting: the mean of the ratings and of five times 3.5, so that one review alone does not decide."""
