"""What the test kit does for an author beyond what the platform does."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from outlet.testing import Emitted, InstalledPlugin, NoAnswer, Platform, PluginFailed, Reply
from tests.contract.grounds import NEIGHBOUR, PROBE


@pytest.fixture(autouse=True)
def paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(PROBE), str(NEIGHBOUR), *sys.path])


@pytest.fixture
def outlet_plugin_folder() -> Path:
    return PROBE


async def run(plugin: InstalledPlugin, *steps: dict[str, Any]) -> Any:
    return (await plugin.post("/steps", list(steps))).json()


async def test_the_fixture_is_the_plugin_installed_and_active(outlet_plugin: InstalledPlugin) -> None:
    assert (outlet_plugin.status, outlet_plugin.config) == ("active", {"rate": 2})
    await outlet_plugin.send("sale.created", {"id": "s-1"})
    assert outlet_plugin.emitted == [Emitted("counted", {"sale": "s-1", "seen": ["id"]}, "store-1")]
    assert outlet_plugin.data == {"sales": 1}
    assert outlet_plugin.rows("items") == []


async def test_what_the_plugin_raised_is_the_cause_of_its_failure(outlet_plugin: InstalledPlugin) -> None:
    with pytest.raises(PluginFailed, match="as the event asked") as failed:
        await outlet_plugin.send("sale.created", {"id": "s-1", "fail": True})
    assert isinstance(failed.value.__cause__, ValueError)
    assert "handlers.py" in failed.value.stack
    assert (outlet_plugin.emitted, outlet_plugin.data) == ([], {})


async def test_a_request_that_the_test_says_nothing_of_is_told_to_the_test(outlet_plugin: InstalledPlugin) -> None:
    step = {"do": "fetch", "url": "https://api.example.com/rates"}
    with pytest.raises(NoAnswer, match=r"platform\.on_fetch"):
        await run(outlet_plugin, step)
    outlet_plugin.platform.on_fetch("https://api.example.com/*", Reply(json={"a": 1}))
    outlet_plugin.platform.on_fetch("https://api.example.com/slow", lambda _: TimeoutError())
    assert await run(outlet_plugin, step, {**step, "url": "https://api.example.com/slow"}) == [
        {"status": 200, "body": '{"a":1}'},
        "! fetch_timeout",
    ]
    assert [request.url for request in outlet_plugin.fetched][-1] == "https://api.example.com/slow"


async def test_time_passes_when_the_test_says_so(outlet_plugin: InstalledPlugin) -> None:
    later = {"do": "enqueue", "name": "work", "payload": 1, "delay": 60, "key": "k"}
    await run(outlet_plugin, later, {"do": "set", "key": "short", "value": 1, "expires_in": 30})
    assert await outlet_plugin.run_jobs() == 0
    outlet_plugin.platform.advance(timedelta(seconds=61))
    assert await outlet_plugin.run_jobs() == 1
    assert outlet_plugin.data == {"job": [1, 1]}
    await outlet_plugin.tick("nightly")
    assert outlet_plugin.data["tick"] == "2026-01-06T02:00:00+01:00"


async def test_events_reach_every_plugin_that_listens(outlet_platform: Platform) -> None:
    first, second = await outlet_platform.install(PROBE), await outlet_platform.install(PROBE, store="store-2")
    await outlet_platform.publish("sale.created", {"id": "s-1"}, store="store-2")
    await outlet_platform.publish("sale.created", {"id": "s-2"}, store="store-1")
    await outlet_platform.settle()
    assert (first.data, second.data) == ({"sales": 2}, {"sales": 1})
    assert [sale["id"] for sale in outlet_platform.entities("sale")] == ["s-2", "s-1"]


async def test_what_an_installation_stored_goes_with_it(outlet_plugin: InstalledPlugin) -> None:
    await run(
        outlet_plugin, {"do": "set", "key": "k", "value": 1}, {"do": "table", "call": "create", "values": {"name": "a"}}
    )
    await outlet_plugin.deactivate()
    assert (await outlet_plugin.get("/steps")).status == 409
    await outlet_plugin.uninstall()
    assert (outlet_plugin.data, outlet_plugin.rows("items")) == ({}, [])


async def test_a_call_that_takes_too_long_fails(
    outlet_platform: Platform, outlet_plugin: InstalledPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlet.testing._installation.SECONDS", 0.05)
    outlet_platform.on_fetch("*", Reply())
    deep = {"do": "wait"}
    with pytest.raises(PluginFailed) as failed:
        await outlet_plugin.post("/steps", [deep])
    assert failed.value.code == "plugin_timeout"


def test_sample_tickets_are_at_hand(outlet_sales: list[Any]) -> None:
    assert len(outlet_sales) == 100
    assert {"id", "lines", "totals"} <= outlet_sales[0].keys()


async def test_a_plugin_that_names_its_tables_makes_no_others(outlet_platform: Platform, tmp_path: Path) -> None:
    code = "from outlet import Plugin, column\nplugin = Plugin()\n@plugin.on_install\nasync def install(api):\n"
    code += "    await api.create_table('others', {'a': column.text()})\n"
    (tmp_path / "naming").mkdir()
    (tmp_path / "naming" / "__init__.py").write_text(code)
    about = (PROBE / "plugin.toml").read_text()
    (tmp_path / "plugin.toml").write_text(f'tables = ["items"]\n{about}')
    sys.path.insert(0, str(tmp_path))
    with pytest.raises(PluginFailed, match="table_not_declared"):
        await outlet_platform.install(tmp_path)
