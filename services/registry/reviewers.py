"""Who reviews: people of the platform's operator, with the role `reviewer`."""

from typing import Annotated

from fastapi import Depends, Request

from services.common.auth import Caller, Role, require
from services.common.errors import Forbidden


async def _reviewer(
    request: Request, caller: Annotated[Caller, Depends(require(frozenset({Role.REVIEWER})))]
) -> Caller:
    operator: str | None = request.app.state.operator_organization
    if operator is not None and caller.organization != operator:
        raise Forbidden("Only reviewers of the platform's operator decide on plugins.", code="wrong_organization")
    return caller


Reviewer = Annotated[Caller, Depends(_reviewer)]
