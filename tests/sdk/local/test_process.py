"""Child processes: output, readiness, ending."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from outlet.local.errors import ProcessFailed
from outlet.local.process import Process, run

PYTHON = sys.executable
ENVIRONMENT = {"PATH": os.defpath}
PARENT = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid, flush=True)
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
"""


def process(tmp_path: Path, code: str) -> Process:
    return Process("program", [PYTHON, "-c", code], log=tmp_path / "program.log", environment=ENVIRONMENT)


async def never() -> bool:
    return False


async def test_program_that_ends_early_is_reported_with_what_it_wrote_in_this_run(tmp_path: Path) -> None:
    (tmp_path / "program.log").write_text("of an earlier run\n")
    program = process(tmp_path, "print('out of coffee'); raise SystemExit(7)")
    await program.start()
    with pytest.raises(ProcessFailed, match="ended with status 7") as failure:
        await program.until_ready(never, 10)
    assert failure.value.output == "out of coffee"


async def test_program_that_does_not_become_ready_is_reported(tmp_path: Path) -> None:
    program = process(tmp_path, "import time; time.sleep(60)")
    await program.start()
    with pytest.raises(ProcessFailed, match=r"not ready after 0\.1 s"):
        await program.until_ready(never, 0.1)
    await program.stop()


async def test_program_that_ignores_the_request_is_ended_with_its_children(tmp_path: Path) -> None:
    program = process(tmp_path, PARENT)
    await program.start()

    async def has_written() -> bool:
        return program.tail().strip().isdigit()

    await program.until_ready(has_written, 10)
    grandchild = psutil.Process(int(program.tail()))
    begun = time.monotonic()
    await program.stop(grace=0.2)
    assert time.monotonic() - begun < 2
    assert not program.running
    psutil.wait_procs([grandchild], timeout=2)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


async def test_large_log_of_earlier_runs_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "program.log"
    with log.open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    program = process(tmp_path, "print('hello')")
    await program.start()
    assert await program.wait() == 0
    assert log.read_text() == "hello\n"
    assert log.with_name("program.log.1").exists()


async def test_failed_program_says_what_it_wrote() -> None:
    with pytest.raises(ProcessFailed, match=r"status 2\nno such table"):
        await run([PYTHON, "-c", "import sys; print('no such table'); sys.exit(2)"], environment=ENVIRONMENT)


async def test_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(ProcessFailed, match="did not end"):
        await run([PYTHON, "-c", "import time; time.sleep(60)"], environment=ENVIRONMENT, within=0.2)


async def test_status_of_a_killed_program_is_its_signal(tmp_path: Path) -> None:
    program = process(tmp_path, "import time; time.sleep(60)")
    await program.start()
    program.kill()
    assert await program.wait() == -signal.SIGKILL
