"""A plugin whose routes another one calls."""

from typing import Any

from outlet import Api, ApiError, Plugin, Request

plugin = Plugin()


@plugin.route("GET", "/who")
async def who(api: Api, request: Request) -> dict[str, Any]:
    try:
        await api.call("contract-probe", "GET", "/nothing")
    except ApiError as error:
        refused = error.code
    caller = request.caller
    return {"subject": caller.subject, "role": caller.role, "query": dict(request.query), "back": refused}


@plugin.route("POST", "/fails")
async def fails(api: Api) -> dict[str, Any]:
    await api.set_data("lost", 1)
    raise RuntimeError("for the neighbour's author only")


@plugin.route("POST", "/keep")
async def keep(api: Api) -> dict[str, Any]:
    return {"count": await api.increment_data("count")}


@plugin.route("GET", "/private")
async def private(api: Api) -> dict[str, Any]:
    return {}
