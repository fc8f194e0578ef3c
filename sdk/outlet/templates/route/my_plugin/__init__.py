"""Keeps notes about customers, through routes of its own."""

from typing import Any

from outlet import Api, Plugin, Problem, Request, Response, column

plugin = Plugin()


@plugin.on_install
async def install(api: Api) -> None:
    """Runs once, before the plugin is first activated."""
    await api.create_table("notes", {"customer": column.text(), "text": column.text()}, indexes=[["customer", "text"]])


@plugin.route("POST", "/customers/{customer}/notes")
async def write(api: Api, request: Request) -> Response:
    """Add a note; 404 when there is no such customer, 400 when the body is none."""
    customer = request.params["customer"]
    body = request.json()
    if not isinstance(body, dict) or not isinstance(body.get("text"), str) or not body["text"].strip():
        raise Problem(400, "invalid_note", 'The body is {"text": "..."}.')
    if await api.models.Customer.find_by_id(customer) is None:
        raise Problem(404, "customer_not_found", f"There is no customer {customer}.")
    note = await api.table("notes").create({"customer": customer, "text": body["text"]})
    return Response({"id": note["id"], "text": note["text"]}, status=201)


@plugin.route("GET", "/customers/{customer}/notes")
async def read(api: Api, request: Request) -> dict[str, Any]:
    """The newest 50 notes about a customer."""
    found = await api.table("notes").find({"customer": request.params["customer"]}, sort=["-created_at"], limit=50)
    return {"notes": [{"id": note["id"], "text": note["text"]} for note in found]}
