"""``GET /api/plugins/ui-components/{injectionPoint}``: which components belong there, in the caller's store."""

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from outlet.manifest import INJECTION_POINTS, ComponentDeclaration
from services.common.auth import USES, Caller, require
from services.common.directory import Directory, Installation
from services.common.errors import NotFound
from services.common.wire import problems
from services.ui_components.schemas import ComponentView, InjectionPointView

# The answer is the caller's own, and may be shown again once the service has confirmed that it still holds.
CACHING = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}

router = APIRouter()


@router.get(
    "/api/plugins/ui-components/{injection_point}",
    response_model=InjectionPointView,
    responses=problems(401, 403, 404),
)
async def components_at(
    request: Request,
    injection_point: str,
    caller: Annotated[Caller, Depends(require(USES))],
    store: str | None = None,
) -> Response:
    """The components of active installations, highest priority first, then by plugin.

    A token of a whole organization may name a ``store``; without one it gets what is installed organization-wide.
    """
    if injection_point not in INJECTION_POINTS:
        raise NotFound(
            f"There is no injection point {injection_point!r}.",
            code="unknown_injection_point",
            remedy="Ask for one of the injectionPoints.",
            injectionPoints=list(INJECTION_POINTS),
        )
    directory: Directory = request.app.state.directory
    found = directory.components(injection_point, caller.organization, caller.choose_store(store))
    view = InjectionPointView(
        injection_point=injection_point,
        components=[_view(installation, component) for installation, component in found],
    )
    body = view.model_dump_json(by_alias=True).encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if _matches(request.headers.getlist("If-None-Match"), tag):
        return Response(status_code=304, headers={"ETag": tag, **CACHING})
    return Response(body, media_type="application/json", headers={"ETag": tag, **CACHING})


def _view(installation: Installation, component: ComponentDeclaration) -> ComponentView:
    route = component.route and f"/api/plugins/{installation.plugin_id}/api{component.route}"
    return ComponentView(
        plugin_id=installation.plugin_id,
        installation_id=installation.id,
        version=installation.version,
        name=component.name,
        title=component.title,
        priority=component.priority,
        route=route,
        store=installation.store_id,
    )


def _matches(if_none_match: list[str], tag: str) -> bool:
    """Weak comparison with any of the listed tags (RFC 9110, section 13.1.2)."""
    asked = {each.strip().removeprefix("W/") for line in if_none_match for each in line.split(",")}
    return "*" in asked or tag in asked
