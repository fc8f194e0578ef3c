"""`outlet bulk` as its users call it, against a stand-in gateway."""

import http.server
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from typer.testing import CliRunner, Result

from outlet.cli import app
from outlet.commands import bulk_work

JOB = "0b1c2d3e-0000-4000-8000-000000000000"
STORE = {"storeId": "s2\x1b[2J", "state": "failed", "code": "lifecycle_hook_failed", "detail": "it [red]broke"}
PREVIEW = {
    "action": "install",
    "pluginId": "loyalty",
    "version": "1.0.0",
    "act": 1,
    "skip": 1,
    "refuse": 0,
    "stores": [
        {"storeId": "a", "outcome": "act", "code": None, "detail": None},
        {"storeId": "b", "outcome": "skip", "code": "already_installed", "detail": "It is there."},
    ],
}
PLAN = {"wishes": [{"name": "sale:read", "purpose": "to count them"}]}


def job(state: str = "completed", *, failed: int = 0, waiting: int = 0, items: Any = (), cursor: Any = None) -> Any:
    counts = {"total": 3, "waiting": waiting, "running": 0, "failed": failed, "skipped": 0}
    stores = {"items": [*items], "nextCursor": cursor}
    return {"id": JOB, "action": "install", "state": state, "done": 3 - failed - waiting, **counts, "stores": stores}


class Gateway(http.server.BaseHTTPRequestHandler):
    """Answers each request with the next of its server's ``answers`` for it."""

    server: Any

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        self._answer(f"GET {asked.path}", dict(parse_qsl(asked.query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._answer(f"POST {self.path}", json.loads(body or b"null"))

    def _answer(self, request: str, asked: Any) -> None:
        request = request.replace("/api/plugins/", "")
        self.server.received[request].append(asked)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(self.server.answers[request].pop(0)).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(bulk_work, "POLL_SECONDS", 0.01)
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), Gateway)
    server.received, server.answers = defaultdict(list), {}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def bulk(gateway: Any, *arguments: str, said: str = "") -> Result:
    url = f"http://127.0.0.1:{gateway.server_port}"
    return CliRunner().invoke(app, ["bulk", *arguments, "--url", url, "--token", "given"], input=said)


def test_a_job_is_begun_and_watched_to_its_end(gateway: Any) -> None:
    gateway.answers = {
        "POST bulk": [job("running", waiting=3)],
        f"GET bulk/{JOB}": [job("running", waiting=1), job()],
    }
    done = bulk(
        gateway, "install", "loyalty", "--stores", "a, b", "--region", "north", "--set", "goal=5", "--yes", "--json"
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["done"] == 3
    assert gateway.received["POST bulk"] == [
        {
            "action": "install",
            "pluginId": "loyalty",
            "selection": {"stores": ["a", "b"], "regions": ["north"]},
            "dryRun": False,
            "config": {"goal": 5},
            "options": {"activate": True, "withDependencies": False},
        }
    ]


def test_stores_that_failed_are_named_and_are_status_3(gateway: Any) -> None:
    gateway.answers = {
        "POST bulk": [job(failed=2)],
        f"GET bulk/{JOB}": [
            job(failed=2, items=[STORE], cursor="c1"),
            job(failed=2, items=[STORE | {"storeId": "s3"}]),
        ],
    }
    done = bulk(gateway, "update", "loyalty", "--region", "north", "--yes")
    assert done.exit_code == 3, done.output
    assert "lifecycle_hook_failed: it [red]broke" in done.stdout
    assert "s3 " in done.stdout
    assert "\x1b" not in done.stdout
    assert f"outlet bulk retry {JOB}" in done.stderr
    assert [asked.get("cursor") for asked in gateway.received[f"GET bulk/{JOB}"]] == [None, "c1"]


@pytest.mark.parametrize(("wait", "status"), [("1s", 3), ("none", 0)])
def test_what_is_not_done_in_time_is_status_3_unless_nobody_waits(gateway: Any, wait: str, status: int) -> None:
    gateway.answers = {
        "POST bulk": [job("running", waiting=3)],
        f"GET bulk/{JOB}": [job("running", waiting=3)] * 200,
    }
    assert bulk(gateway, "activate", "loyalty", "--stores", "a", "--yes", "--wait", wait).exit_code == status


@pytest.mark.parametrize(("said", "begun"), [("n\n", 0), ("y\n", 1)])
def test_without_yes_a_person_sees_what_would_happen_and_is_asked(gateway: Any, said: str, begun: int) -> None:
    gateway.answers = {"POST bulk": [PREVIEW, job()], "GET install/plan": [PLAN], f"GET bulk/{JOB}": [job()]}
    done = bulk(gateway, "install", "loyalty", "--stores", "a,b", said=said)
    assert (done.exit_code == 0) == bool(begun)
    assert "already_installed: It is there." in done.stdout
    assert "grants sale:read" in done.stdout
    assert [asked["dryRun"] for asked in gateway.received["POST bulk"]] == [True, False][: 1 + begun]


def test_nobody_has_consented_to_what_a_program_asks_for_without_yes(gateway: Any) -> None:
    gateway.answers = {"POST bulk": [PREVIEW]}
    refused = bulk(gateway, "uninstall", "loyalty", "--stores", "a", "--json")
    assert "nobody has consented" in str(refused.exception)
    assert [asked["dryRun"] for asked in gateway.received["POST bulk"]] == [True]


@pytest.mark.parametrize(("refused", "status"), [(0, 0), (1, 3)])
def test_a_dry_run_only_asks(gateway: Any, refused: int, status: int) -> None:
    gateway.answers = {"POST bulk": [PREVIEW | {"refuse": refused}]}
    done = bulk(gateway, "rollback", "loyalty", "--stores", "a,b", "--dry-run", "--json")
    assert (done.exit_code, json.loads(done.stdout)["act"]) == (status, 1)


def test_a_job_is_shown_cancelled_and_tried_again(gateway: Any) -> None:
    gateway.answers = {
        f"GET bulk/{JOB}": [job("running", waiting=1), job()],
        f"POST bulk/{JOB}/cancel": [job("cancelled")],
        f"POST bulk/{JOB}/retry": [job("running", waiting=1)],
    }
    assert "running: 3 stores" in bulk(gateway, "show", JOB).stdout
    assert "cancelled: 3 stores" in bulk(gateway, "cancel", JOB).stdout
    assert "completed: 3 stores, 3 done" in bulk(gateway, "retry", JOB).stdout


def test_without_stores_nothing_is_asked(gateway: Any) -> None:
    assert bulk(gateway, "deactivate", "loyalty").exit_code == 2
    assert not gateway.received
