"""HTTP routes of the review queue."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from outlet.package import MEDIA_TYPE
from services.common.auth import Caller, Role, require
from services.common.wire import BEARER, MAX_PAGE, Page, problems
from services.registry.reviewers import Reviewer, check_operator
from services.registry.submissions.schemas import Decision, ReviewStatus, SubmissionDocument
from services.registry.submissions.service import SubmissionService

router = APIRouter(prefix="/api/plugins/marketplace", tags=["review"], dependencies=[BEARER])

ONE = "/{plugin_id}/versions/{version}/submission"


def _submissions(request: Request) -> SubmissionService:
    service: SubmissionService = request.app.state.submissions
    return service


async def _reader(
    request: Request, caller: Annotated[Caller, Depends(require(frozenset({Role.REVIEWER, Role.PUBLISHER})))]
) -> Caller:
    if caller.role is Role.REVIEWER:
        check_operator(request, caller)
    return caller


Submissions = Annotated[SubmissionService, Depends(_submissions)]
Reader = Annotated[Caller, Depends(_reader)]
Name = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]

ANSWERS = problems(401, 403, 404, 422)


@router.get("/submissions", responses=problems(400, 401, 403, 422))
async def list_submissions(
    caller: Reader,
    submissions: Submissions,
    status: ReviewStatus | None = ReviewStatus.PENDING,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: str | None = None,
) -> Page[SubmissionDocument]:
    """The review queue, the longest waiting first: all of it for reviewers, their own for publishers."""
    return await submissions.find(caller, status, limit, cursor)


@router.get(ONE, responses=ANSWERS)
async def read_submission(
    caller: Reader, submissions: Submissions, plugin_id: Name, version: Name
) -> SubmissionDocument:
    """One submission with what the automatic checks have found."""
    return await submissions.read(caller, plugin_id, version)


@router.get(
    f"{ONE}/package",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {}}}, **ANSWERS, **problems(409, 503)},
)
async def read_submitted_package(caller: Reader, submissions: Submissions, plugin_id: Name, version: Name) -> Response:
    """The package that is to be reviewed: a zip of manifest.json and the sources."""
    return Response(await submissions.package(caller, plugin_id, version), media_type=MEDIA_TYPE)


@router.put(f"{ONE}/decision", responses=ANSWERS)
async def decide(
    caller: Reviewer, submissions: Submissions, plugin_id: Name, version: Name, wanted: Decision
) -> SubmissionDocument:
    """Offer a version to everyone, as `community` or as `verified`, or refuse it."""
    return await submissions.decide(caller, plugin_id, version, wanted)
