"""Reviews of plugins, and what those who run the marketplace say of listings."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller, Role
from services.common.errors import Conflict, Forbidden, NotFound
from services.common.wire import Page, decode_cursor, encode_cursor, invalid_cursor
from services.registry.audit.trail import record
from services.registry.database import Transaction
from services.registry.listings.models import Listing
from services.registry.listings.repository import ListingRepository
from services.registry.reviews.models import Review
from services.registry.reviews.repository import Position, ReviewFilter, ReviewRepository
from services.registry.reviews.schemas import ReviewDocument, ReviewRequest


class ReviewService:
    """Each change locks the plugin's listing first, so that its ratings are those of its reviews."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def write(self, caller: Caller, plugin_id: str, wanted: ReviewRequest) -> ReviewDocument:
        """The organization's one review, made or replaced. Raises Conflict where the plugin is not installed."""
        _check_whole(caller)
        async with self._transaction() as session:
            await _lock_listing(session, plugin_id)
            reviews = ReviewRepository(session)
            await _check_no_publisher(reviews, caller, plugin_id)
            version = await reviews.installed_version(plugin_id, caller.organization)
            if version is None:
                raise Conflict(
                    "Only an organization that has the plugin installed reviews it.",
                    code="not_installed_here",
                    remedy="Install it, try it, and say then what you think.",
                )
            now = await reviews.now()
            review = await reviews.of(plugin_id, caller.organization)
            before = {} if review is None else _said(review)
            if review is None:
                review = Review(
                    id=uuid4(), plugin_id=plugin_id, organization_id=caller.organization, author=caller.subject,
                    rating=wanted.rating, title=wanted.title, text=wanted.text, version=version,
                    created_at=now, updated_at=now,
                )  # fmt: skip
                await reviews.add(review)
            else:
                review.rating, review.title, review.text = wanted.rating, wanted.title, wanted.text
                review.author, review.version, review.updated_at = caller.subject, version, now
            await _conclude(session, caller, "review.write", review, before=before, after=_said(review))
        return ReviewDocument.of(review, caller)

    async def remove(self, caller: Caller, plugin_id: str) -> None:
        """Take the organization's review back. Raises NotFound when there is none."""
        _check_whole(caller)
        async with self._transaction() as session:
            await _lock_listing(session, plugin_id)
            reviews = ReviewRepository(session)
            review = _present(await reviews.of(plugin_id, caller.organization))
            await reviews.remove(review)
            await _conclude(session, caller, "review.remove", review, before=_said(review))

    async def reply(self, caller: Caller, plugin_id: str, review_id: UUID, reply: str | None) -> ReviewDocument:
        """The publisher's answer to a review that is shown. Raises Forbidden for anybody else."""
        async with self._transaction() as session:
            reviews = ReviewRepository(session)
            plugin = await reviews.plugin(plugin_id)
            if plugin is None or plugin.mirrored or plugin.publisher_organization != caller.organization:
                raise Forbidden("Only the plugin's publisher answers.", code="plugin_of_another_publisher")
            review = _present(await reviews.lock(plugin_id, review_id))
            if review.hidden_at is not None:
                raise _not_found()
            before = {"reply": review.reply}
            review.reply = reply
            review.replied_at = None if reply is None else await reviews.now()
            about = _named(review)
            await record(
                session, caller.organization, caller, "review.reply", about, before=before, after={"reply": reply}
            )
        return ReviewDocument.of(review, caller)

    async def report(self, caller: Caller, plugin_id: str, review_id: UUID, reason: str) -> None:
        """Say that a review should not be shown; again is harmless."""
        async with self._transaction() as session:
            reviews = ReviewRepository(session)
            review = _present(await reviews.lock(plugin_id, review_id))
            if review.hidden_at is not None:
                raise _not_found()
            if await reviews.report(review_id, caller.organization, reason):
                about = _named(review)
                await record(session, caller.organization, caller, "review.report", about, after={"reason": reason})

    async def hide(
        self, caller: Caller, plugin_id: str, review_id: UUID, *, hidden: bool, reason: str | None
    ) -> ReviewDocument:
        """Hide a review, or show it again; a hidden one does not count."""
        async with self._transaction() as session:
            await _lock_listing(session, plugin_id)
            reviews = ReviewRepository(session)
            review = _present(await reviews.lock(plugin_id, review_id))
            before = {"hidden": review.hidden_at is not None, "reason": review.hidden_reason}
            review.hidden_at = await reviews.now() if hidden else None
            review.hidden_reason = reason if hidden else None
            after = {"hidden": hidden, "reason": review.hidden_reason}
            action = "review.hide" if hidden else "review.show"
            await _conclude(session, caller, action, review, before=before, after=after)
        return ReviewDocument.of(review, caller)

    async def feature(self, caller: Caller, plugin_id: str, *, featured: bool) -> None:
        """Mark a plugin as featured, or no longer."""
        async with self._transaction() as session:
            listing = await _lock_listing(session, plugin_id)
            before, listing.featured = listing.featured, featured
            await record(
                session, caller.organization, caller, "plugin.feature", {"pluginId": plugin_id},
                before={"featured": before}, after={"featured": featured},
            )  # fmt: skip

    async def find(self, caller: Caller, wanted: ReviewFilter, limit: int, cursor: str | None) -> Page[ReviewDocument]:
        """One page, the last changed first. Hidden ones are for reviewers, and for who wrote them."""
        if cursor is not None:
            wanted = replace(wanted, after=_position(cursor))
        if caller.role is not Role.REVIEWER:
            wanted = replace(wanted, seen_by=caller.organization)
        async with self._transaction() as session:
            rows = await ReviewRepository(session).find(wanted, limit + 1)
        items = [ReviewDocument.of(review, caller, reports) for review, reports in rows[:limit]]
        if len(rows) <= limit:
            return Page(items=items)
        return Page(items=items, next_cursor=encode_cursor(items[-1].updated_at.isoformat(), str(items[-1].id)))


async def _lock_listing(session: AsyncSession, plugin_id: str) -> Listing:
    listing = await ListingRepository(session).lock(plugin_id)
    if listing is None:
        raise NotFound(f"The catalogue has no plugin {plugin_id!r}.", code="plugin_not_found")
    return listing


async def _conclude(
    session: AsyncSession,
    caller: Caller,
    action: str,
    review: Review,
    *,
    before: dict[str, Any],
    after: dict[str, Any] | None = None,
) -> None:
    await ListingRepository(session).rate(review.plugin_id)
    await record(session, caller.organization, caller, action, _named(review), before=before, after=after)


async def _check_no_publisher(reviews: ReviewRepository, caller: Caller, plugin_id: str) -> None:
    plugin = await reviews.plugin(plugin_id)
    if plugin is not None and not plugin.mirrored and plugin.publisher_organization == caller.organization:
        raise Forbidden("Nobody reviews a plugin of their own.", code="own_plugin", remedy="Let your customers speak.")


def _check_whole(caller: Caller) -> None:
    if caller.store is not None:
        raise Forbidden(
            f"This token is bound to store {caller.store!r}; a review is the whole organization's.", code="wrong_store"
        )


def _present(review: Review | None) -> Review:
    if review is None:
        raise _not_found()
    return review


def _not_found() -> NotFound:
    return NotFound("There is no such review.", code="review_not_found")


def _said(review: Review) -> dict[str, Any]:
    return {"rating": review.rating, "title": review.title, "text": review.text, "version": review.version}


def _named(review: Review) -> dict[str, Any]:
    return {"pluginId": review.plugin_id, "reviewId": str(review.id)}


def _position(cursor: str) -> Position:
    updated_at, review_id = decode_cursor(cursor, 2)
    try:
        position = datetime.fromisoformat(updated_at), UUID(review_id)
    except ValueError:
        raise invalid_cursor() from None
    if position[0].tzinfo is None:
        raise invalid_cursor()
    return position
