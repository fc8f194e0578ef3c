"""From a publisher's wish to offer a version to everyone to a reviewer's decision."""

from dataclasses import asdict
from datetime import datetime

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from services.common.auth import Caller, Role
from services.common.errors import NotFound, Unprocessable
from services.common.wire import Page, decode_cursor, encode_cursor, invalid_cursor
from services.registry.audit.trail import record
from services.registry.catalogue.levels import Level
from services.registry.catalogue.repository import CatalogueRepository
from services.registry.database import Transaction
from services.registry.models import Plugin, PluginVersion
from services.registry.packages.storage import PackageStorage, read_package
from services.registry.submissions.checks import Finding
from services.registry.submissions.models import Submission
from services.registry.submissions.repository import SubmissionRepository
from services.registry.submissions.schemas import Decision, ReviewStatus, SubmissionDocument

log = structlog.get_logger(__name__)


async def submit(
    session: AsyncSession, caller: Caller, version: PluginVersion, findings: list[Finding], *, automatic: bool
) -> None:
    """Ask for a version of a locked plugin to be offered to everyone; asked again after a refusal, it waits again.

    ``automatic``: the checks decide, and no reviewer is waited for.
    """
    submissions = SubmissionRepository(session)
    found = await submissions.get(version.plugin_id, version.version)
    if version.level != Level.PRIVATE or (found is not None and found.status == ReviewStatus.PENDING):
        return
    if found is None:
        found = Submission(
            plugin_id=version.plugin_id, version=version.version, status="", findings=[], submitted_by=caller.subject
        )
        submissions.add(found)
    found.status = ReviewStatus.APPROVED if automatic else ReviewStatus.PENDING
    found.findings = [asdict(finding) for finding in findings]
    found.submitted_at, found.submitted_by = await submissions.now(), caller.subject
    if automatic:
        version.level = Level.COMMUNITY


def check_findings(findings: list[Finding]) -> None:
    """Raises Unprocessable (``checks_failed``) when there is an error among them."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise Unprocessable(
            f"The automatic checks have found {len(errors)} errors: the version cannot be offered to everyone.",
            code="checks_failed",
            remedy="Correct what they name, or publish with level private for your own organization.",
            errors=[
                {
                    "path": f"{each.path}:{each.line}" if each.line else each.path,
                    "code": each.code,
                    "message": each.message,
                }
                for each in errors
            ],
        )


class SubmissionService:
    """The review queue."""

    def __init__(self, transaction: Transaction, packages: PackageStorage) -> None:
        self._transaction = transaction
        self._packages = packages

    async def find(
        self, caller: Caller, status: ReviewStatus | None, limit: int, cursor: str | None
    ) -> Page[SubmissionDocument]:
        """One page of the submissions that a reviewer or a publisher may see, the longest waiting first."""
        publisher = None if caller.role is Role.REVIEWER else caller.organization
        after = None if cursor is None else _position(cursor)
        async with self._transaction() as session:
            rows = await SubmissionRepository(session).find(status, publisher, after, limit + 1)
        items = [SubmissionDocument.of(*row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items=items)
        last = items[-1]
        return Page(items=items, next_cursor=encode_cursor(last.submitted_at.isoformat(), last.plugin_id, last.version))

    async def read(self, caller: Caller, plugin_id: str, version: str) -> SubmissionDocument:
        """One submission. Raises NotFound (``submission_not_found``)."""
        async with self._transaction() as session:
            return SubmissionDocument.of(*await _row(session, caller, plugin_id, version))

    async def package(self, caller: Caller, plugin_id: str, version: str) -> bytes:
        """What is to be reviewed. Raises NotFound, or as read_package."""
        async with self._transaction() as session:
            _, _, found = await _row(session, caller, plugin_id, version)
            return await read_package(self._packages, session, found.digest)

    async def decide(self, caller: Caller, plugin_id: str, version: str, wanted: Decision) -> SubmissionDocument:
        """Approve or refuse a version; what was offered and is refused is offered no more. Raises NotFound."""
        async with self._transaction() as session:
            catalogue = CatalogueRepository(session)
            await catalogue.lock(plugin_id)
            submission, plugin, found = await _row(session, caller, plugin_id, version)
            approved = wanted.decision == "approve"
            before = {"status": str(submission.status), "level": str(found.level)}
            submission.status = ReviewStatus.APPROVED if approved else ReviewStatus.REFUSED
            submission.decided_at = await SubmissionRepository(session).now()
            submission.decided_by, submission.comment = caller.subject, wanted.comment
            found.level = wanted.level if approved else Level.PRIVATE
            await catalogue.refresh_latest(plugin)
            document = SubmissionDocument.of(submission, plugin, found)
            after = {"status": str(submission.status), "level": str(found.level), "comment": wanted.comment}
            about = {"pluginId": plugin_id, "version": version}
            for organization in sorted({caller.organization, plugin.publisher_organization}):
                await record(session, organization, caller, "submission.decide", about, before=before, after=after)
        log.info("submission decided", plugin=plugin_id, version=version, level=found.level, by=caller.subject)
        return document


async def _row(
    session: AsyncSession, caller: Caller, plugin_id: str, version: str
) -> tuple[Submission, Plugin, PluginVersion]:
    catalogue = CatalogueRepository(session)
    submission = await SubmissionRepository(session).get(plugin_id, version)
    plugin, found = await catalogue.plugin(plugin_id), await catalogue.version(plugin_id, version)
    hidden = caller.role is not Role.REVIEWER and plugin and plugin.publisher_organization != caller.organization
    if submission is None or plugin is None or found is None or hidden:
        raise NotFound(f"{plugin_id} {version} was not submitted.", code="submission_not_found")
    return submission, plugin, found


def _position(cursor: str) -> tuple[datetime, str, str]:
    submitted_at, plugin_id, version = decode_cursor(cursor, 3)
    try:
        position = datetime.fromisoformat(submitted_at)
    except ValueError:
        raise invalid_cursor() from None
    if position.tzinfo is None:
        raise invalid_cursor()
    return position, plugin_id, version
