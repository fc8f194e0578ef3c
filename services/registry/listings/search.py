"""SQL of searching the marketplace."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Numeric, Text, and_, case, cast, func, literal, or_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.listings.models import Listing
from services.registry.models import Plugin, PluginVersion

SIMILAR = "0.55"
"""How much of what was typed must be found in a name (pg_trgm's word similarity), where no plugin has its words."""
Found = tuple[Plugin, PluginVersion, Listing, str]
"""A plugin, the latest version of a plugin, its listing, and its sort key as text."""

Kind = tuple[str, str, bool, int]
"""Category, price model and whether featured, and how many plugins there are of that kind."""


class Sort(StrEnum):
    """What comes first: the best match, most downloads, best ratings, the latest version, or A before Z."""

    RELEVANCE = "relevance"
    DOWNLOADS = "downloads"
    RATING = "rating"
    NEWEST = "newest"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which plugins to list for whom. ``after``: sort key and id of the last one of the page before."""

    organization: str
    search: str | None = None
    category: str | None = None
    price: str | None = None
    featured: bool | None = None
    sort: Sort = Sort.RELEVANCE
    after: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """How plugins are matched: by words that begin as those that were typed, or else by what looks like them."""

    words: tuple[str, ...]
    similar: bool = False

    @property
    def condition(self) -> ColumnElement[bool]:
        if self.similar:
            return literal(" ".join(self.words)).op("<%", is_comparison=True)(col(Listing.names))
        return col(Listing.search).op("@@", is_comparison=True)(self._query)

    @property
    def rank(self) -> ColumnElement[Any]:
        if self.similar:
            return func.word_similarity(" ".join(self.words), col(Listing.names))
        return func.ts_rank(col(Listing.search), self._query)

    @property
    def _query(self) -> ColumnElement[Any]:
        # The words are letters and digits alone, so the quotes hold whatever was typed.
        return func.to_tsquery("simple", " & ".join(f"'{word}':*" for word in self.words))


def words_of(text: str) -> tuple[str, ...]:
    """The words in what somebody typed."""
    return tuple(re.findall(r"[^\W_]+", text.lower()))[:16]


class SearchRepository:
    """Searches within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def choose(self, wanted: Wanted, words: tuple[str, ...]) -> Match:
        """By words where any plugin has them, else by what looks like them."""
        exact = Match(words)
        any_exact = (
            select(literal(1))
            .select_from(Listing)
            .join(Plugin, col(Plugin.id) == col(Listing.plugin_id))
            .where(exact.condition, _visible(wanted.organization))
            .limit(1)
        )
        if (await self._session.exec(any_exact)).first() is not None:
            return exact
        return Match(words, similar=True)

    async def allow_similar(self) -> None:
        """Set how similar is similar, for this transaction."""
        await self._session.exec(select(func.set_config("pg_trgm.word_similarity_threshold", SIMILAR, True)))

    async def page(self, wanted: Wanted, match: Match | None, limit: int) -> Sequence[Found]:
        """Plugins in the order that is wanted, then by id."""
        key = _key(wanted.sort, match)
        ascending = wanted.sort is Sort.NAME
        statement = (
            select(Plugin, PluginVersion, Listing, cast(key, Text).label("sort_key"))
            .select_from(Listing)
            .join(Plugin, col(Plugin.id) == col(Listing.plugin_id))
            .join(
                PluginVersion,
                and_(
                    col(PluginVersion.plugin_id) == col(Plugin.id),
                    col(PluginVersion.version) == _offered(wanted.organization),
                ),
            )
            .where(*_conditions(wanted, match))
            .order_by(key.asc() if ascending else key.desc(), col(Listing.plugin_id))
            .limit(limit)
        )
        if wanted.after is not None:
            last = wanted.after[0] if ascending else literal(Decimal(wanted.after[0]), Numeric)
            beyond = key > last if ascending else key < last
            statement = statement.where(or_(beyond, and_(key == last, col(Listing.plugin_id) > wanted.after[1])))
        return (await self._session.exec(statement)).all()

    async def count(self, wanted: Wanted, match: Match | None) -> Sequence[Kind]:
        """How many of the plugins that match are of each kind, whatever kind is wanted: one look for all facets."""
        kind = (col(Listing.category), col(Listing.price), col(Listing.featured))
        statement = (
            select(*kind, func.count())
            .join(Plugin, col(Plugin.id) == col(Listing.plugin_id))
            .where(_visible(wanted.organization))
            .group_by(*kind)
        )
        if match is not None:
            statement = statement.where(match.condition)
        return (await self._session.exec(statement)).all()


def _offered(organization: str) -> ColumnElement[str | None]:
    """The version that an installation of the organization's gets which names none; null: it is offered none."""
    own = and_(col(Plugin.publisher_organization) == organization, col(Plugin.mirrored).is_(False))
    return case((own, col(Plugin.latest_version)), else_=col(Plugin.latest_public))


def _visible(organization: str) -> ColumnElement[bool]:
    return _offered(organization).is_not(None)


def _conditions(wanted: Wanted, match: Match | None) -> list[ColumnElement[bool]]:
    conditions = [] if match is None else [match.condition]
    for name, column in (("category", Listing.category), ("price", Listing.price), ("featured", Listing.featured)):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(col(column) == value)
    return conditions


def _key(sort: Sort, how: Match | None) -> ColumnElement[Any]:
    """What plugins are sorted by: text for names, else a number that text keeps exactly."""
    match sort:
        case Sort.NAME:
            return func.lower(col(Listing.name)).collate("C")
        case Sort.DOWNLOADS:
            return cast(col(Listing.downloads), Numeric)
        case Sort.RATING:
            return func.round(col(Listing.score), 6)
        case Sort.NEWEST:
            return cast(func.extract("epoch", col(Listing.published_at)), Numeric)
        case Sort.RELEVANCE:
            return literal(Decimal(0), Numeric) if how is None else func.round(cast(how.rank, Numeric), 6)
