"""An author goes from nothing to a live plugin in five commands, and sees a save at once."""

from pathlib import Path

import pytest

from tests.author.loop import run


@pytest.mark.timeout(240)
async def test_five_commands_lead_to_a_plugin_on_a_real_sale(tmp_path: Path) -> None:
    outcome = await run(tmp_path)
    assert outcome.commands == 5
    assert outcome.seconds < 180
    assert outcome.reload_ms < 5_000  # under a second on a quiet machine; `make author-loop` measures that
