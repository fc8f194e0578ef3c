"""`outlet dead-letters` as its users call it, against a stand-in gateway."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from outlet.local.issuer import Issuer

TOKEN = "given"
REPLAY = "0123456789abcdef" * 2
LETTER = {
    "id": 7,
    "pluginId": "loyalty-points",
    "version": "1.0.0",
    "installationId": "i-1",
    "storeId": "s1",
    "eventType": "sale.created",
    "eventSource": "urn:pos",
    "eventId": "e-1",
    "attempts": 8,
    "code": "plugin_raised",
    "message": "KeyError [red]\x1b[2J",
    "failedAt": "2026-11-01T12:00:00Z",
    "replayId": None,
}


class Letters(http.server.BaseHTTPRequestHandler):
    """Answers each path with the next of its server's ``answers`` for it, the last one for ever."""

    server: Any

    def do_GET(self) -> None:
        path, _, query = self.path.removeprefix("/api/dead-letters").partition("?")
        self._answer(path, dict(parse_qsl(query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(urlsplit(self.path).path.removeprefix("/api/dead-letters"), json.loads(body))

    def _answer(self, path: str, asked: dict[str, Any]) -> None:
        self.server.received.append((self.command, path, asked, self.headers["authorization"]))
        answers = self.server.answers[path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(answer.get("status", 200))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), Letters)
    server.received, server.answers = [], {}
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def letters(gateway: Any, *arguments: str, token: str = TOKEN, said: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from outlet.cli import main; main()", "dead-letters", *arguments]
    told = ["--url", gateway.url, *(["--token", token] if token else [])]
    return subprocess.run([*command, *told], input=said, capture_output=True, text=True, timeout=60, check=False)


def replayed(**changes: Any) -> dict[str, Any]:
    return {"replayId": REPLAY, "total": 3, "gone": 0, "left": 0} | changes


def progress(waiting: int = 0, dead: int = 0) -> dict[str, Any]:
    succeeded = 3 - waiting - dead
    counts = {"total": 3, "waiting": waiting, "succeeded": succeeded, "dead": dead, "discarded": 0}
    return {"replayId": REPLAY, **counts}


def test_list_shows_letters_and_asks_for_what_was_named(gateway: Any) -> None:
    gateway.answers[""] = [{"items": [LETTER], "nextCursor": None}]
    done = letters(gateway, "list", "--plugin", "loyalty-points", "--code", "plugin_raised", "--since", "2h")
    assert done.returncode == 0, done.stderr
    assert "       7  2026-11-01T12:00:00Z  loyalty-points 1.0.0" in done.stdout
    assert "8 attempts  plugin_raised: KeyError [red]" in done.stdout
    assert "\x1b" not in done.stdout  # a plugin's words are no commands to the terminal
    [(_, _, asked, authorization)] = gateway.received
    assert (asked["pluginId"], asked["code"], asked["limit"]) == ("loyalty-points", "plugin_raised", "50")
    ago = datetime.now(UTC) - datetime.fromisoformat(asked["since"])
    assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=2)
    assert authorization == "Bearer given"


def test_list_follows_pages_up_to_its_limit(gateway: Any) -> None:
    gateway.answers[""] = [{"items": [LETTER] * 200, "nextCursor": "c1"}, {"items": [LETTER] * 50, "nextCursor": "c2"}]
    done = letters(gateway, "list", "--limit", "250", "--json")
    printed = json.loads(done.stdout)
    assert (len(printed["items"]), printed["nextCursor"]) == (250, "c2")
    assert [asked for _, _, asked, _ in gateway.received] == [{"limit": "200"}, {"limit": "50", "cursor": "c1"}]


def test_show_prints_error_stack_and_payload(gateway: Any) -> None:
    gateway.answers["/7"] = [LETTER | {"eventTime": "t", "stack": "Traceback ...", "payload": {"total": 19.1}}]
    done = letters(gateway, "show", "7")
    assert done.returncode == 0, done.stderr
    for expected in ("KeyError [red]", "Traceback ...", '"total": 19.1'):
        assert expected in done.stdout
    assert "\x1b" not in done.stdout


def test_replay_by_filter_follows_its_progress_to_the_end(gateway: Any) -> None:
    gateway.answers["/replay"] = [replayed()]
    gateway.answers[f"/replays/{REPLAY}"] = [progress(waiting=3), progress(waiting=1), progress()]
    done = letters(gateway, "replay", "--plugin", "loyalty-points", "--store", "s1", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == replayed() | progress()
    assert gateway.received[0][2] == {"filter": {"pluginId": "loyalty-points", "storeId": "s1"}, "dryRun": False}
    assert [path for _, path, _, _ in gateway.received[1:]] == [f"/replays/{REPLAY}"] * 3


@pytest.mark.parametrize(
    ("became", "wait", "status"),
    [
        (progress(dead=1), "5s", 1),
        (progress(waiting=1), "1s", 3),
        (progress(waiting=3), "none", 0),
    ],
)
def test_replay_says_by_its_status_what_became_of_it(
    gateway: Any, became: dict[str, Any], wait: str, status: int
) -> None:
    gateway.answers["/replay"] = [replayed(gone=2, left=1)]
    gateway.answers[f"/replays/{REPLAY}"] = [became]
    done = letters(gateway, "replay", "1", "2", "3", "--wait", wait)
    assert done.returncode == status
    assert gateway.received[0][2] == {"ids": [1, 2, 3], "dryRun": False}
    for expected in ("3 dead letters replayed", "2 more are of installations that are gone", "1 more match", REPLAY):
        assert expected in done.stdout


def test_dry_run_counts_and_follows_nothing(gateway: Any) -> None:
    gateway.answers["/replay"] = [replayed(replayId=None)]
    done = letters(gateway, "replay", "--all", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "3 dead letters would be replayed.\n")
    assert [(path, asked) for _, path, asked, _ in gateway.received] == [("/replay", {"filter": {}, "dryRun": True})]


def test_progress_of_a_replay_can_be_asked_later(gateway: Any) -> None:
    gateway.answers[f"/replays/{REPLAY}"] = [progress(waiting=1)]
    done = letters(gateway, "progress", REPLAY)
    assert done.stdout == f"Replay {REPLAY}: 3 in all, 2 succeeded, 1 waiting.\n"


def test_discard_by_filter_asks_first_and_by_id_does_not(gateway: Any) -> None:
    gateway.answers["/discard"] = [{"total": 3, "left": 0}]
    refused = letters(gateway, "discard", "--plugin", "old", said="n\n")
    assert refused.returncode == 1
    assert "Give up 3 dead letters?" in refused.stderr
    assert [asked["dryRun"] for _, _, asked, _ in gateway.received] == [True]
    assert letters(gateway, "discard", "--plugin", "old", said="y\n").returncode == 0
    assert letters(gateway, "discard", "--plugin", "old", "--yes").returncode == 0
    assert letters(gateway, "discard", "7").stdout == "3 dead letters discarded.\n"
    assert [asked["dryRun"] for _, _, asked, _ in gateway.received] == [True, True, False, False, False]


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", "7", "--all"),
        ("replay", "7", "--plugin", "p"),
        ("discard",),
        ("discard", "--all", "--code", "c"),
        ("list", "--since", "2026-11-01T12:00"),
        ("replay", "--all", "--wait", "soon"),
    ],
)
def test_wrong_usage_changes_nothing(gateway: Any, arguments: tuple[str, ...]) -> None:
    assert letters(gateway, *arguments).returncode == 2
    assert gateway.received == []


def test_refusals_are_shown_with_what_to_do(gateway: Any) -> None:
    problem = {"status": 404, "code": "dead_letter_not_found", "detail": "none such", "remedy": "Check the id."}
    gateway.answers["/7"] = [problem]
    done = letters(gateway, "show", "7")
    assert done.returncode == 1
    assert "404 (dead_letter_not_found): none such" in done.stderr
    assert "Check the id." in done.stderr
    assert "Traceback" not in done.stderr


def test_whose_letters_are_meant_must_be_said_and_on_this_machine_a_name_is_enough(
    gateway: Any, tmp_path: Path
) -> None:
    gateway.answers[""] = [{"items": [], "nextCursor": None}]
    nobody = letters(gateway, "list", token="")
    assert nobody.returncode == 1
    assert "--token" in nobody.stderr
    Issuer.create(tmp_path / "issuer")
    done = letters(gateway, "list", "--org", "acme", "--directory", str(tmp_path), token="")
    assert (done.returncode, done.stdout) == (0, "No dead letters.\n")
    assert gateway.received[0][3].startswith("Bearer ey")
