"""Runs steps: each is a call of the API, or a block of further steps, and answers with a value or a refusal's code."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from outlet import Api, ApiError, Event, Job, Plugin, Problem, Request, Response, Tick, column

plugin = Plugin()

MODELS = {"product": "Product", "customer": "Customer", "employee": "Employee", "store": "Store", "sale": "Sale"}


@plugin.on_install
async def install(api: Api) -> None:
    await api.create_table(
        "items",
        {
            "name": column.text(),
            "amount": column.integer(default=5),
            "price": column.decimal(nullable=True),
            "at": column.timestamp(nullable=True),
            "open": column.boolean(default=True),
            "extra": column.json(nullable=True),
        },
        unique=[["name"]],
        indexes=[["amount"]],
    )
    await api.set_config("rate", 2)


@plugin.hook("sale.created")
async def sold(api: Api, event: Event) -> None:
    await api.increment_data("sales")
    await api.emit("counted", {"sale": event.data["id"], "seen": sorted(event.data)})
    if event.data.get("fail"):
        raise ValueError("as the event asked")
    for step in event.data.get("steps", []):
        await run(api, step)


@plugin.job()
async def work(api: Api, job: Job) -> None:
    await api.set_data("job", [job.payload, job.attempt])


@plugin.schedule("0 2 * * *", timezone="Europe/Berlin")
async def nightly(api: Api, tick: Tick) -> None:
    await api.set_data("tick", tick.planned.isoformat())


@plugin.route("POST", "/steps")
async def steps(api: Api, request: Request) -> list[Any]:
    return [await run(api, step) for step in request.json()]


@plugin.route("POST", "/answers/{kind}")
async def answers(api: Api, request: Request) -> Any:
    await api.set_data("kept", request.params["kind"])
    match request.params["kind"]:
        case "problem":
            raise Problem(409, "not_now", "Later.")
        case "error":
            raise KeyError("x")
        case "nothing":
            return None
        case "status":
            return Response({"made": True}, status=201, headers={"X-Kind": "status"})
        case "exit":
            raise SystemExit(3)
    return {"path": request.path, "query": dict(request.query), "role": request.caller.role}


@plugin.route("POST", "/left-open")
async def left_open(api: Api) -> dict[str, Any]:
    await api.set_data("kept", "no")
    await api.transaction().__aenter__()
    return {}


async def run(api: Api, step: dict[str, Any]) -> Any:
    """One step, ``{"do": name, ...}``; a refusal's code as ``"! code"``."""
    arguments = {key: typed(value) for key, value in step.items() if key != "do"}
    try:
        return plain(await ACTIONS[step["do"]](api, arguments))
    except ApiError as error:
        return f"! {error.code}"


async def table(api: Api, arguments: dict[str, Any]) -> Any:
    method = getattr(api.table(arguments.pop("name", "items")), arguments.pop("call"))
    found = await method(**arguments)
    return [without(row) for row in found] if isinstance(found, list) else without(found)


async def model(api: Api, arguments: dict[str, Any]) -> Any:
    method = getattr(getattr(api.models, MODELS[arguments.pop("of")]), arguments.pop("call"))
    found = await method(**arguments)
    return {"page": list(found), "more": found.cursor is not None} if hasattr(found, "cursor") else found


async def pages(api: Api, arguments: dict[str, Any]) -> Any:
    """All ids, asked for page by page."""
    found, cursor = [], None
    while True:
        page = await api.models.Product.find(**arguments, cursor=cursor)
        found.append([entity["id"] for entity in page])
        cursor = page.cursor
        if cursor is None:
            return found


async def nested(api: Api, arguments: dict[str, Any]) -> Any:
    """Steps within a transaction, which is undone when ``undo`` says so."""
    answers: list[Any] = []
    try:
        async with api.transaction():
            answers += [await run(api, step) for step in arguments["steps"]]
            if arguments.get("undo"):
                raise LookupError  # noqa: TRY301  as a plugin does
    except LookupError:
        answers.append("undone")
    except ApiError as error:
        answers.append(f"! {error.code}")
    return answers


async def intruded(api: Api, arguments: dict[str, Any]) -> Any:
    """A call from a task that was started outside of the open transaction."""
    go = asyncio.Event()

    async def outside() -> Any:
        await go.wait()
        return await run(api, {"do": "set", "key": "outside", "value": 1})

    task = asyncio.create_task(outside())
    async with api.transaction():
        go.set()
        return await task


async def fetch(api: Api, arguments: dict[str, Any]) -> Any:
    answer = await api.fetch(**arguments)
    return {"status": answer.status, "body": answer.text()}


async def secret(api: Api, arguments: dict[str, Any]) -> Any:
    answer = await api.fetch(arguments["url"], headers={"Authorization": f"Bearer {api.secret(arguments['name'])}"})
    return {"status": answer.status, "body": answer.text()}


async def call(api: Api, arguments: dict[str, Any]) -> Any:
    answer = await api.call(**arguments)
    return [answer.status, answer.json()]


async def page(api: Api, arguments: dict[str, Any]) -> Any:
    found = await api.list_data(**arguments)
    return {"items": dict(found), "cursor": found.cursor}


async def enqueue(api: Api, arguments: dict[str, Any]) -> Any:
    first = await api.enqueue(**arguments)
    second = await api.enqueue(**arguments)
    return "once" if first == second else "twice"


async def raw(api: Api, arguments: dict[str, Any]) -> Any:
    return await api._transport.call(arguments["method"], arguments["arguments"])


async def wait(api: Api, arguments: dict[str, Any]) -> Any:
    await asyncio.Event().wait()


ACTIONS: dict[str, Any] = {
    "wait": wait,
    "table": table,
    "model": model,
    "pages": pages,
    "nested": nested,
    "intruded": intruded,
    "fetch": fetch,
    "secret": secret,
    "call": call,
    "list": page,
    "enqueue": enqueue,
    "raw": raw,
    "get": lambda api, given: api.get_data(**given),
    "set": lambda api, given: api.set_data(**given),
    "delete": lambda api, given: api.delete_data(**given),
    "increment": lambda api, given: api.increment_data(**given),
    "emit": lambda api, given: api.emit(**given),
    "notify": lambda api, given: api.notify(**given),
    "validate": lambda api, given: api.validate(**given),
    "set_config": lambda api, given: api.set_config(**given),
    "store": lambda api, given: api.get_store(**given),
    "organization": lambda api, given: api.get_organization(),
    "webhook": lambda api, given: api.webhooks.register(**given),
    "define": lambda api, given: api.create_table("late", {"a": column.text()}),
}


def typed(value: Any) -> Any:
    """What JSON cannot say: ``"D 1.50"`` is a Decimal, ``"F 1.5"`` a float, ``"T 2026-01-01T00:00:00Z"`` a moment."""
    if isinstance(value, str) and value.startswith("D "):
        return Decimal(value[2:])
    if isinstance(value, str) and value.startswith("F "):
        return float(value[2:])
    if isinstance(value, str) and value.startswith("T "):
        return datetime.fromisoformat(value[2:])
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()} if "do" not in value else value
    return [typed(item) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """Values with their types, as JSON: ``"D 1.50"``, ``"T ..."``."""
    if isinstance(value, Decimal):
        return f"D {value}"
    if isinstance(value, datetime):
        return f"T {value.astimezone(UTC).isoformat()}"
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


def without(row: Any) -> Any:
    """A row without what is made up when it is made."""
    if not isinstance(row, dict):
        return row
    return {name: value for name, value in row.items() if name not in ("id", "created_at")}
