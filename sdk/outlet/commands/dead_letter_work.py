"""What `outlet dead-letters` does: asks a gateway, and shows its answers."""

import json
import time
from pathlib import Path
from typing import Any, Protocol

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from outlet.commands.console import errors, output
from outlet.commands.gateway import local_token, send
from outlet.local.errors import PlatformError

PATH = "/api/dead-letters"
PAGE = 200
POLL_SECONDS = 0.5

Json = dict[str, Any]


class Platform(Protocol):
    """Sends one request below ``/api/dead-letters``."""

    def __call__(self, method: str, path: str, **request: Any) -> httpx.Response: ...


def connect(url: str, token: str | None, organization: str | None, directory: Path) -> Platform:
    """A platform with a token for it. Raises PlatformError when nobody said whose letters are meant."""
    if token is None:
        if organization is None:
            raise PlatformError(
                "whose dead letters?", "Give a token (--token, OUTLET_TOKEN) or, on this machine, --org."
            )
        token = local_token(url, directory, "owner", organization)
    bearer = token

    def ask(method: str, path: str, **request: Any) -> httpx.Response:
        return send(url, bearer, method, f"{PATH}{path}", **request)

    return ask


def show_list(platform: Platform, wanted: dict[str, str], limit: int, *, as_json: bool) -> None:
    """Print at most ``limit`` letters."""
    items: list[Json] = []
    cursor: str | None = None
    while True:
        page = {"limit": min(PAGE, limit - len(items))} | ({"cursor": cursor} if cursor else {})
        answer = platform("GET", "", params=wanted | page).json()
        items += answer["items"]
        cursor = answer["nextCursor"]
        if cursor is None or len(items) >= limit:
            break
    if as_json:
        typer.echo(json.dumps({"items": items, "nextCursor": cursor}))
        return
    for item in items:
        plugin = f"{item['pluginId']} {item['version']}"
        failed_at = item["failedAt"].partition(".")[0].removesuffix("Z")
        error = f"{item['code']}: {_plain(item['message'])}"
        place = f"{_plain(item['storeId']):<12} {_plain(item['eventType']):<16} {item['attempts']:>2} attempts"
        typer.echo(f"{item['id']:>8}  {failed_at}Z  {plugin:<28} {place}  {error.partition(chr(10))[0]}")
    if not items:
        typer.echo("No dead letters.")
    if cursor:
        errors().print("There are more: raise --limit, or say which.")


def show_one(platform: Platform, letter: int, *, as_json: bool) -> None:
    """Print a letter; in JSON as the gateway says it, digit by digit."""
    response = platform("GET", f"/{letter}")
    if as_json:
        typer.echo(response.text)
        return
    found: Json = response.json()
    stack, payload = found.pop("stack"), found.pop("payload")
    for name, value in found.items():
        output().print(f"{name:<15} {_plain(value)}", markup=False, soft_wrap=True)
    if stack:
        output().print(f"\n{_plain(stack).rstrip()}", markup=False, soft_wrap=True)
    output().print(f"\n{_plain(json.dumps(payload, indent=2, ensure_ascii=False))}", markup=False, soft_wrap=True)


def replay(platform: Platform, selection: Json, wait: float, *, dry_run: bool, as_json: bool) -> int:
    """Start a replay and watch it for ``wait`` seconds; the exit status."""
    started: Json = platform("POST", "/replay", json=selection | {"dryRun": dry_run}).json()
    progress: Json = {}
    if started["replayId"] is not None:
        progress = _watch(platform, started["replayId"], wait)
    if as_json:
        typer.echo(json.dumps(started | progress))
    else:
        _say_started(started, dry_run=dry_run)
        _say(progress)
    if progress and progress["waiting"] and wait:
        return 3
    return 1 if progress and progress["dead"] else 0


def show_progress(platform: Platform, replay_id: str, *, as_json: bool) -> None:
    """Print how far a replay is."""
    progress = _progress(platform, replay_id)
    if as_json:
        typer.echo(json.dumps(progress))
    else:
        _say(progress)


def discard(platform: Platform, selection: Json, *, dry_run: bool, ask: bool, as_json: bool) -> None:
    """Give letters up, after asking whether that is meant. Raises typer.Abort when it is not."""
    if ask and not dry_run:
        counted = platform("POST", "/discard", json=selection | {"dryRun": True}).json()
        typer.confirm(f"Give up {counted['total'] + counted['left']:,} dead letters?", abort=True, err=True)
    answer: Json = platform("POST", "/discard", json=selection | {"dryRun": dry_run}).json()
    if as_json:
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{answer['total']:,} dead letters {'would be ' if dry_run else ''}discarded.")
    _say_left(answer)


def _watch(platform: Platform, replay_id: str, seconds: float) -> Json:
    """Show the progress until the replay has ended or the time is over; how far it was then."""
    until = time.monotonic() + seconds
    columns = (TextColumn("Replaying"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors(), transient=True) as shown:
        task = shown.add_task("replay", total=None)
        while True:
            progress = _progress(platform, replay_id)
            shown.update(task, total=progress["total"], completed=progress["total"] - progress["waiting"])
            left = until - time.monotonic()
            if progress["waiting"] == 0 or left <= 0:
                return progress
            time.sleep(min(POLL_SECONDS, left))


def _progress(platform: Platform, replay_id: str) -> Json:
    return dict(platform("GET", f"/replays/{replay_id}").json())


def _say_started(started: Json, *, dry_run: bool) -> None:
    typer.echo(f"{started['total']:,} dead letters {'would be ' if dry_run else ''}replayed.")
    if started["gone"]:
        typer.echo(f"{started['gone']:,} more are of installations that are gone; they can be discarded.")
    _say_left(started)


def _say_left(answer: Json) -> None:
    if answer["left"]:
        typer.echo(f"{answer['left']:,} more match: run it again.")


def _say(progress: Json) -> None:
    if progress:
        names = ("succeeded", "waiting", "dead", "discarded")
        counts = ", ".join(f"{progress[name]:,} {name}" for name in names if progress[name])
        typer.echo(f"Replay {progress['replayId']}: {progress['total']:,} in all, {counts}.")


def _plain(text: object) -> str:
    """A plugin's own words for a terminal, which must not take them for commands."""
    return "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in str(text))
