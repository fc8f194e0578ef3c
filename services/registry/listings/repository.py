"""SQL of listings: what is counted, and what is said of them."""

from sqlalchemy import text, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from services.registry.listings.models import Listing

_RATE = text("""
UPDATE plugin_listing SET
    ratings = counted.ratings,
    score = (counted.total + 5 * 3.5) / (counted.number + 5)
FROM (
    SELECT count(*) AS number, coalesce(sum(rating), 0) AS total,
           ARRAY[count(*) FILTER (WHERE rating = 1), count(*) FILTER (WHERE rating = 2),
                 count(*) FILTER (WHERE rating = 3), count(*) FILTER (WHERE rating = 4),
                 count(*) FILTER (WHERE rating = 5)]::integer[] AS ratings
    FROM review WHERE plugin_id = :plugin_id AND hidden_at IS NULL
) AS counted
WHERE plugin_listing.plugin_id = :plugin_id
""")


class ListingRepository:
    """Listings within one transaction."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, plugin_id: str) -> Listing | None:
        """The listing; nobody else changes it until the transaction ends."""
        statement = select(Listing).where(col(Listing.plugin_id) == plugin_id).with_for_update()
        return (await self._session.exec(statement)).one_or_none()

    async def count_download(self, plugin_id: str) -> None:
        """Count an installation, the first time that it has succeeded."""
        statement = update(Listing).where(col(Listing.plugin_id) == plugin_id)
        await self._session.exec(statement.values(downloads=col(Listing.downloads) + 1))

    async def rate(self, plugin_id: str) -> None:
        """Reckon the ratings anew, from the reviews that are shown. Lock the listing first."""
        await self._session.flush()
        await self._session.exec(_RATE.bindparams(plugin_id=plugin_id))  # type: ignore[call-overload]
