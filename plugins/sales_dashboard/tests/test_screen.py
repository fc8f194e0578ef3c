"""The JavaScript on a screen, run by Node.js."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from outlet import package

ROOT = Path(__file__).parents[1]
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None and not os.environ.get("CI"), reason="needs Node.js")
def test_the_element_draws_asks_and_survives_failures() -> None:
    assert NODE is not None, "Node.js is not installed"
    command = [NODE, str(ROOT / "tests" / "screen.mjs"), str(ROOT / "ui" / "sales.js")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  ours
    assert (run.returncode, run.stdout) == (0, "ok\n"), run.stderr


def test_the_bundle_is_in_the_package_and_small() -> None:
    built = package.build(ROOT)
    [bundle] = built.manifest.bundles
    assert bundle.compressed_bytes < 64 * 1024
    assert {component.injection_point: component.bundle for component in built.manifest.components} == {
        "Dashboard.Widgets": "sales",
        "Reports.Dashboard": "sales",
    }


def test_the_element_makes_no_html_of_text() -> None:
    source = (ROOT / "ui" / "sales.js").read_text()
    assert not [each for each in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(") if each in source]
