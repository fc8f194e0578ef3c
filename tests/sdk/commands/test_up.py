"""`outlet up` as a developer runs it, with small stand-ins for the services."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from outlet.local.network import free_port
from tests.sdk.local.stand_ins import write_package

COMMAND = [sys.executable, "-c", "from outlet.cli import main; main()", "up"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Where the stand-ins take the place of the services, and where no setting of the caller counts."""
    write_package(tmp_path / "code", "services")
    own = {name: value for name, value in os.environ.items() if not name.startswith("OUTLET_")}
    return own | {"PYTHONPATH": str(tmp_path / "code"), "OUTLET_PORT": str(free_port())}


@contextlib.contextmanager
def started(directory: Path, environ: dict[str, str], *options: str, until: str) -> Iterator[subprocess.Popen[str]]:
    """`outlet up` from when it has printed ``until``."""
    command = [*COMMAND, "--directory", str(directory), *options]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        assert running.stdout
        try:
            printed = ""
            for line in running.stdout:
                printed += line
                if until in line:
                    break
            else:
                pytest.fail(f"it ended before it printed {until!r}:\n{printed}")
            yield running
        finally:
            running.kill()


def refused(directory: Path, environ: dict[str, str], *options: str) -> str:
    """What `outlet up` says when it does not start."""
    command = [*COMMAND, "--directory", str(directory), *options]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_everything_in_time_and_keeps_the_data(
    tmp_path: Path, environ: dict[str, str], number: signal.Signals
) -> None:
    with started(tmp_path / "kept", environ, until="outlet token") as running:
        answer = httpx.get(f"http://127.0.0.1:{environ['OUTLET_PORT']}/health/ready", timeout=5)
        assert answer.status_code == 200
        children = psutil.Process(running.pid).children(recursive=True)
        begun = time.monotonic()
        running.send_signal(number)
        assert running.wait(10) == 0
        assert time.monotonic() - begun < 5
    assert not [child for child in children if child.is_running()]
    assert (tmp_path / "kept" / "postgres" / "data" / "PG_VERSION").exists()


def test_signal_while_starting_ends_what_was_started(tmp_path: Path, environ: dict[str, str]) -> None:
    waiting = environ | {"STAND_IN_NEVER_READY": "registry"}
    with started(tmp_path / "data", waiting, "--verbose", until="503") as running:
        children = psutil.Process(running.pid).children(recursive=True)
        begun = time.monotonic()
        running.send_signal(signal.SIGINT)
        running.wait(10)
        assert time.monotonic() - begun < 5
    assert not [child for child in children if child.is_running()]


def test_second_one_on_the_same_directory_is_refused_with_the_pid(tmp_path: Path, environ: dict[str, str]) -> None:
    with started(tmp_path / "data", environ, until="outlet token") as running:
        said = refused(tmp_path / "data", environ | {"OUTLET_PORT": str(free_port())})
        assert f"in use by another platform (pid {running.pid})" in said
        assert "--directory" in said


def test_taken_port_is_refused_by_name(tmp_path: Path, environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = refused(tmp_path / "data", environ, "--port", str(taken.getsockname()[1]))
    assert "is taken by another program" in said
    assert "OUTLET_PORT" in said


def test_more_workers_than_the_embedded_broker_carries_are_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    assert "OUTLET_KAFKA_BOOTSTRAP" in refused(tmp_path / "data", environ, "--workers", "2")


def test_service_that_fails_is_shown_with_its_log(tmp_path: Path, environ: dict[str, str]) -> None:
    said = refused(tmp_path / "data", environ | {"STAND_IN_FAILS": "gateway"})
    assert "gateway ended with status 3" in said
    assert "the stand-in was told to fail" in said


def test_service_that_dies_is_reported_and_started_again(tmp_path: Path, environ: dict[str, str]) -> None:
    with started(tmp_path / "data", environ, until="outlet token") as running:
        [gateway] = [
            child for child in psutil.Process(running.pid).children() if child.cmdline()[-1] == "services.gateway"
        ]
        gateway.kill()
        assert running.stdout
        said = ""
        while "ready" not in said:
            said += running.stdout.readline()
        assert "gateway" in said
        assert "status -9" in said
