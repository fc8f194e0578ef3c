"""What the plugin's routes answer."""

import pytest

from outlet.testing import InstalledPlugin, PluginFailed

PATH = "/customers/c-1/notes"


async def test_notes_come_back_the_newest_first(outlet_plugin: InstalledPlugin) -> None:
    outlet_plugin.platform.add("customer", {"id": "c-1", "tier": "gold"})
    for text in ("likes tea", "prefers green"):
        assert (await outlet_plugin.post(PATH, {"text": text})).status == 201
    notes = (await outlet_plugin.get(PATH)).json()["notes"]
    assert [note["text"] for note in notes] == ["prefers green", "likes tea"]


async def test_what_is_no_note_is_refused(outlet_plugin: InstalledPlugin) -> None:
    outlet_plugin.platform.add("customer", {"id": "c-1"})
    for body in ([], {}, {"text": " "}, {"text": 5}):
        answer = await outlet_plugin.post(PATH, body)
        assert (answer.status, answer.code) == (400, "invalid_note")
    assert outlet_plugin.rows("notes") == []


async def test_nobody_notes_about_nobody(outlet_plugin: InstalledPlugin) -> None:
    answer = await outlet_plugin.post(PATH, {"text": "x"})
    assert (answer.status, answer.code) == (404, "customer_not_found")


async def test_without_the_permission_it_says_so(outlet_plugin: InstalledPlugin) -> None:
    outlet_plugin.grants.clear()
    with pytest.raises(PluginFailed, match="permission_denied: customer:read is needed"):
        await outlet_plugin.post(PATH, {"text": "x"})
