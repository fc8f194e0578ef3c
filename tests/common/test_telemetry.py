"""What services write to their logs, and that they go on when they cannot."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

PROGRAM = """
import logging
import os
import sys

import structlog

from services.common.settings import ServiceSettings
from services.common.telemetry import configure_logging

configure_logging("test", ServiceSettings(kafka_bootstrap="nowhere", log_format=sys.argv[1]))


def connect(dsn):
    raise ConnectionRefusedError(f"{dsn.partition('@')[2]} is away")


for _ in range(30):
    structlog.get_logger("ours").warning("a line", of="words " * 20)
    try:
        connect("postgresql://outlet:hunter2@database/outlet")
    except ConnectionRefusedError as error:
        structlog.get_logger("ours").error("not connected", exc_info=error)
        logging.getLogger("a library").exception("not connected")
os.write(int(sys.argv[2]), b"went on")
"""
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.parametrize("log_format", ["json", "console"])


def run(log_format: str, output: IO[bytes], *, unbuffered: bool = False) -> tuple[int, bytes]:
    """Run the program with its output and its errors in a file; its exit status, and what it said when it was done."""
    read, write = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    command = [sys.executable, "-c", PROGRAM, log_format, str(write)]
    ended = subprocess.run(command, stdout=output, stderr=output, env=environment, pass_fds=[write], check=False)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        return ended.returncode, pipe.read()


def test_traceback_tells_no_values_of_variables(log_format: str, tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as log:
        assert run(log_format, log) == (0, b"went on")
    written = (tmp_path / "log").read_text()
    assert written.count("database/outlet is away") >= 60
    assert "hunter2" not in written


@pytest.mark.parametrize("unbuffered", [True, False])
def test_service_goes_on_when_the_log_cannot_be_written(log_format: str, unbuffered: bool) -> None:
    with Path("/dev/full").open("wb") as full:  # every write fails with ENOSPC
        _, said = run(log_format, full, unbuffered=unbuffered)
    assert said == b"went on"
