"""What `outlet bulk` does: asks a gateway, watches a job, and shows what came of each store."""

import json
import time
from pathlib import Path
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from outlet.commands.console import errors, output
from outlet.commands.gateway import Platform, open_platform
from outlet.local.errors import PlatformError

PATH = "/api/plugins/bulk"
PAGE = 200
POLL_SECONDS = 0.5
SOME_FAILED = 3

Json = dict[str, Any]


def connect(url: str, token: str | None, organization: str | None, directory: Path) -> Platform:
    """A platform with a token for it. Raises PlatformError when nobody said whose stores are meant."""
    return open_platform(url, token, organization, directory, "owner", whose="whose stores?")


def carry_out(platform: Platform, wanted: Json, wait: float, *, consent: bool, as_json: bool) -> int:
    """Look at what would happen, ask whether that is meant, do it and watch it for ``wait`` seconds; the exit status.

    Raises PlatformError, or typer.Abort when the person says no.
    """
    if wanted["dryRun"] or not consent:
        preview: Json = platform.send("POST", PATH, json=wanted | {"dryRun": True}).json()
        if wanted["dryRun"]:
            return _show_preview(preview, as_json=as_json)
        if as_json:
            raise PlatformError("nobody has consented", "Look at what --dry-run says, and say --yes.")
        _show_preview(preview, as_json=False)
        if wanted["action"] == "install" and "grants" not in wanted:
            _show_wishes(platform, wanted["pluginId"], preview["version"])
        typer.confirm(f"{wanted['action'].capitalize()} in {preview['act']:,} stores?", abort=True, err=True)
    started: Json = platform.send("POST", PATH, json=wanted).json()
    return follow(platform, started, wait, as_json=as_json)


def read(platform: Platform, job_id: str) -> Json:
    """A job as it is now."""
    return dict(platform.send("GET", f"{PATH}/{job_id}").json())


def ask(platform: Platform, job_id: str, what: str) -> Json:
    """Cancel or retry a job; how it is then."""
    return dict(platform.send("POST", f"{PATH}/{job_id}/{what}").json())


def follow(platform: Platform, job: Json, wait: float, *, as_json: bool) -> int:
    """Watch a job for ``wait`` seconds and show how it is then; the exit status."""
    if wait:
        job = _watch(platform, job, wait)
    failed = _failed(platform, job) if job["failed"] else []
    if as_json:
        typer.echo(json.dumps(job | {"stores": failed}))
    else:
        for each in failed:
            _say(f"{each['storeId']:<16} {each['code']}: {each['detail']}")
        counts = ", ".join(f"{job[name]:,} {name}" for name in ("done", "skipped", "failed", "running", "waiting"))
        _say(f"Job {job['id']} {job['state']}: {job['total']:,} stores, {counts}.")
        if failed:
            errors().print(f"Try them again: outlet bulk retry {job['id']}", markup=False, soft_wrap=True)
    late = bool(wait) and job["state"] == "running"
    return SOME_FAILED if failed or late else 0


def _watch(platform: Platform, job: Json, seconds: float) -> Json:
    until = time.monotonic() + seconds
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[failed]}"))
    with Progress(*columns, console=errors(), transient=True) as shown:
        task = shown.add_task(job["action"], total=job["total"], failed="")
        while True:
            failed = f"{job['failed']:,} failed" if job["failed"] else ""
            shown.update(task, completed=job["total"] - job["waiting"] - job["running"], failed=failed)
            left = until - time.monotonic()
            if job["state"] != "running" or left <= 0:
                return job
            time.sleep(min(POLL_SECONDS, left))
            job = read(platform, job["id"])


def _failed(platform: Platform, job: Json) -> list[Json]:
    items: list[Json] = []
    cursor: str | None = None
    while True:
        page = {"state": "failed", "limit": PAGE} | ({"cursor": cursor} if cursor else {})
        found = platform.send("GET", f"{PATH}/{job['id']}", params=page).json()["stores"]
        items += found["items"]
        cursor = found["nextCursor"]
        if cursor is None:
            return items


def _show_preview(preview: Json, *, as_json: bool) -> int:
    if as_json:
        typer.echo(json.dumps(preview))
    else:
        for each in preview["stores"]:
            why = f"{each['code']}: {each['detail']}" if each["code"] else ""
            _say(f"{each['storeId']:<16} {each['outcome']:<7} {why}".rstrip())
        counts = ", ".join(f"{preview[name]:,} {name}" for name in ("act", "skip", "refuse"))
        _say(f"{preview['action']} {preview['pluginId']} {preview['version'] or ''}: {counts}.")
    return SOME_FAILED if preview["refuse"] else 0


def _show_wishes(platform: Platform, plugin_id: str, version: str) -> None:
    """Say what each store grants, and why."""
    wanted = {"pluginId": plugin_id, "version": version}
    for wish in platform.send("GET", "/api/plugins/install/plan", params=wanted).json()["wishes"]:
        _say(f"  grants {wish['name']:<28} {wish['purpose']}")


def _say(text: str) -> None:
    """A line for a terminal, which must not take words of a plugin or a store for commands."""
    output().print("".join(c if c.isprintable() else "\ufffd" for c in text), markup=False, soft_wrap=True)
