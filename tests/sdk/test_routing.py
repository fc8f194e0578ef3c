"""Which route answers."""

import pytest

from outlet import Plugin
from outlet._guest.routing import MethodNotAllowed, RouteNotFound, Router
from outlet._plugin import Handler, route_handlers


async def handler() -> None: ...


def router(*routes: tuple[str, str]) -> Router[Handler]:
    plugin = Plugin()
    for method, path in routes:
        plugin.route(method, path)(handler)  # type: ignore[arg-type]
    return Router(route_handlers(plugin))


def test_parameters_are_decoded_segments() -> None:
    found = router(("GET", "/points/{customer_id}/of/{store}"))
    _, params = found.match("GET", "/points/c%20%C3%A9%2F1/of/s-1")
    assert params == {"customer_id": "c é/1", "store": "s-1"}


@pytest.mark.parametrize("path", ["/points", "/points/", "/points/1/2", "points/1", "/points/1/"])
def test_other_paths_are_not_found(path: str) -> None:
    with pytest.raises(RouteNotFound):
        router(("GET", "/points/{customer_id}")).match("GET", path)


def test_dots_in_a_path_are_only_dots() -> None:
    with pytest.raises(RouteNotFound):
        router(("GET", "/v1.0")).match("GET", "/v1x0")


def test_a_literal_segment_wins_over_a_parameter_whatever_the_order() -> None:
    found = router(("GET", "/points/{customer_id}"), ("GET", "/points/top"), ("GET", "/{anything}/top"))
    assert found.match("GET", "/points/top")[1] == {}
    assert found.match("GET", "/points/1")[1] == {"customer_id": "1"}
    assert found.match("GET", "/other/top")[1] == {"anything": "other"}


def test_methods_of_all_paths_that_match_are_found_and_listed() -> None:
    found = router(("GET", "/points/top"), ("DELETE", "/points/{customer_id}"))
    assert found.match("DELETE", "/points/top")[1] == {"customer_id": "top"}
    with pytest.raises(MethodNotAllowed) as raised:
        found.match("PUT", "/points/top")
    assert raised.value.allowed == ("DELETE", "GET")


def test_head_is_answered_by_get() -> None:
    assert router(("GET", "/x")).match("HEAD", "/x")[0] is not None
