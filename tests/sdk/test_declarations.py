"""What a plugin may declare, and what is refused where it is written."""

from collections.abc import Callable
from typing import Any

import pytest

from outlet import Api, Component, DeclarationError, Plugin
from outlet._plugin import declared, declared_components, hook_handlers, route_handlers
from outlet.manifest import (
    ComponentDeclaration,
    HookDeclaration,
    JobDeclaration,
    Manifest,
    ManifestError,
    RouteDeclaration,
    ScheduleDeclaration,
    check,
)


async def handler(api: Any, given: Any) -> None: ...


def test_declarations_read_back_in_the_words_of_the_manifest() -> None:
    plugin = Plugin()
    plugin.on_install(handler_of_one)
    plugin.on_update(handler)
    plugin.hook("sale.created")(handler)
    plugin.hook("other-plugin/points-earned")(handler)
    plugin.route("GET", "/points/{customer_id}")(handler)

    @plugin.component("POS.AfterCheckout", priority=10)
    def points_earned() -> Component:
        return Component(title="Points earned", route="/points/{customer_id}")

    found = declared(plugin)
    assert found.lifecycle == ("onInstall", "onUpdate")
    assert found.hooks == (HookDeclaration(event="sale.created"), HookDeclaration(event="other-plugin/points-earned"))
    assert found.routes == (RouteDeclaration(method="GET", path="/points/{customer_id}"),)
    assert declared_components(plugin) == (
        ComponentDeclaration(
            injection_point="POS.AfterCheckout",
            name="points_earned",
            title="Points earned",
            priority=10,
            route="/points/{customer_id}",
        ),
    )


async def handler_of_one(api: Any) -> None: ...


def test_decorators_give_the_function_back() -> None:
    assert Plugin().hook("sale.created")(handler) is handler


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda plugin: plugin.hook("Sale Created"), "not an event type"),
        (lambda plugin: plugin.hook("a/b/c"), "not an event type"),
        (lambda plugin: plugin.route("get", "/x"), "the method is one of GET"),
        (lambda plugin: plugin.route("GET", "points"), "not a path"),
        (lambda plugin: plugin.route("GET", "/a/../b{c}"), "not a path"),
        (lambda plugin: plugin.component("POS.Nowhere"), "is none of POS.AfterCheckout"),
    ],
)
def test_names_that_mean_nothing_are_refused(declare: Callable[[Plugin], Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare(Plugin())


def test_declaring_twice_is_refused() -> None:
    plugin = Plugin()
    plugin.hook("sale.created")(handler)
    plugin.route("GET", "/x")(handler)
    plugin.route("POST", "/x")(handler)
    plugin.on_install(handler_of_one)
    plugin.component("POS.AfterCheckout")(component)
    for declare in (
        lambda: plugin.hook("sale.created")(handler),
        lambda: plugin.route("GET", "/x")(handler),
        lambda: plugin.on_install(handler_of_one),
        lambda: plugin.component("POS.AfterCheckout")(component),
    ):
        with pytest.raises(DeclarationError, match="declared twice"):
            declare()


def component() -> Component:
    return Component("A title")


def not_async(api: Any, event: Any) -> None: ...


async def too_many(api: Any, event: Any, more: Any) -> None: ...


async def keyword_only(api: Any, *, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (not_async, "must be written as async def not_async"),
        (too_many, r"takes more than \(api, event\)"),
        (keyword_only, "'event' is keyword-only"),
    ],
)
def test_handlers_that_could_not_be_called_are_refused(function: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        Plugin().hook("sale.created")(function)


async def test_handlers_may_take_fewer_parameters_than_offered() -> None:
    plugin = Plugin()
    got: list[tuple[Any, ...]] = []

    @plugin.hook("a.none")
    async def none() -> None:
        got.append(())

    @plugin.hook("a.one")
    async def one(api: Any) -> None:
        got.append((api,))

    @plugin.hook("a.own")
    async def own(api: Any, event: Any, mine: str = "mine") -> None:
        got.append((api, event, mine))

    @plugin.hook("a.all")
    async def everything(*arguments: Any) -> None:
        got.append(arguments)

    for run in hook_handlers(plugin).values():
        await run("api", "event")
    assert got == [(), ("api",), ("api", "event", "mine"), ("api", "event")]


async def test_methods_of_an_object_can_be_handlers() -> None:
    class Handlers:
        async def read(self, api: Any) -> dict[str, Any]:
            return {"api": api}

    plugin = Plugin()
    plugin.route("GET", "/x")(Handlers().read)
    assert await route_handlers(plugin)["GET", "/x"]("api", "request") == {"api": "api"}


async def asynchronous() -> Component:
    return Component("x")


def with_parameter(props: Any) -> Component:
    return Component("x")


@pytest.mark.parametrize("function", [asynchronous, with_parameter])
def test_component_functions_are_plain_and_take_nothing(function: Any) -> None:
    with pytest.raises(DeclarationError, match="plain function without parameters"):
        Plugin().component("POS.AfterCheckout")(function)


def test_components_are_checked_when_they_are_read() -> None:
    wrong = Plugin()
    wrong.component("POS.AfterCheckout")(lambda: "x")
    with pytest.raises(DeclarationError, match="not a Component"):
        declared_components(wrong)
    lost = Plugin()

    @lost.component("POS.AfterCheckout")
    def somewhere() -> Component:
        return Component("x", route="/nowhere")

    with pytest.raises(DeclarationError, match="no route GET /nowhere"):
        declared_components(lost)


def test_settings_fall_back_to_the_default_given() -> None:
    class Nothing:
        async def call(self, method: str, arguments: dict[str, Any]) -> Any: ...

        def notify(self, method: str, arguments: dict[str, Any]) -> None: ...

    api = Api(Nothing(), config={"rate": 2})
    assert (api.get_config("rate"), api.get_config("other"), api.get_config("other", 5)) == (2, None, 5)


async def nightly_report(api: Any) -> None: ...


def test_schedules_and_jobs_are_named_as_their_functions_unless_told_otherwise() -> None:
    plugin = Plugin()
    plugin.schedule("0 2 * * *", timezone="Europe/Berlin", missed="all")(nightly_report)
    plugin.schedule("*/5 * * * *", name="often")(nightly_report)
    plugin.job()(nightly_report)
    plugin.job("export")(handler)
    found = declared(plugin)
    assert found.schedules == (
        ScheduleDeclaration(name="nightly_report", cron="0 2 * * *", timezone="Europe/Berlin", missed="all"),
        ScheduleDeclaration(name="often", cron="*/5 * * * *"),
    )
    assert found.jobs == (JobDeclaration(name="nightly_report"), JobDeclaration(name="export"))


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda plugin: plugin.schedule("every day"), "has not five fields"),
        (lambda plugin: plugin.schedule("* * * * * *"), "has not five fields"),
        (lambda plugin: plugin.schedule("61 * * * *"), "Bad minute"),
        (lambda plugin: plugin.schedule("0 0 30 2 *"), "Bad day-of-month"),
        (lambda plugin: plugin.schedule("0 2 * * *", timezone="Berlin"), "no IANA time zone"),
        (lambda plugin: plugin.schedule("0 2 * * *", timezone="../../etc/passwd"), "no IANA time zone"),
        (lambda plugin: plugin.schedule("0 2 * * *", missed="never"), "missed is skip, once or all"),
        (lambda plugin: plugin.schedule("0 2 * * *", name="Nightly!")(handler), "a name is of lower-case letters"),
        (lambda plugin: plugin.job("")(handler), "a name is of lower-case letters"),
        (lambda plugin: plugin.job()(lambda api, job: None), "a name is of lower-case letters"),
        (lambda plugin: plugin.job("export")(nightly_report.__class__), "must be written as async def"),
    ],
)
def test_schedules_and_jobs_that_could_never_run_are_refused(declare: Callable[[Plugin], Any], message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        declare(Plugin())


def test_a_manifest_with_a_cron_that_nobody_can_read_is_refused() -> None:
    manifest = Manifest(
        plugin_id="p",
        name="P",
        version="1.0.0",
        author="A",
        description="D",
        entry="p:plugin",
        schedules=(ScheduleDeclaration(name="odd", cron="0 25 * * *"),),
    )
    with pytest.raises(ManifestError, match="Bad hour"):
        check(manifest)
