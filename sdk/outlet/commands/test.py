"""`outlet test`: a plugin's own tests, with pytest and the test kit."""

import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as Xml
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import typer

from outlet.local.errors import PlatformError

NEEDED = ("pytest", "pytest_asyncio", "jsonschema")
NO_TESTS = 5


def test(folder: Path, arguments: Sequence[str], *, as_json: bool) -> int:
    """Run pytest in ``folder``; its exit status. Raises PlatformError when it is missing, or there are no tests."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise PlatformError(f"{', '.join(missing)} not installed", 'Run: pip install "outlet[testing]"')
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [sys.executable, "-m", "pytest", *(["-q", f"--junitxml={report}"] if as_json else []), *arguments]
        done = subprocess.run(command, cwd=folder, check=False, stdout=sys.stderr if as_json else None)  # noqa: S603
        if done.returncode == NO_TESTS:
            raise PlatformError(f"{folder} has no tests", "Write some below tests/: the tutorial shows how.")
        if as_json:
            typer.echo(json.dumps(_totals(report) | {"passed": done.returncode == 0}))
    return done.returncode


def _totals(report: Path) -> dict[str, float]:
    """What pytest's own report counts; it is of our own making."""
    suite = Xml.parse(report).getroot().find("testsuite")  # noqa: S314
    if suite is None:
        raise PlatformError("pytest has written no report", "Run it without --json to see why.")
    counted = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    return {**counted, "seconds": float(suite.attrib["time"])}
