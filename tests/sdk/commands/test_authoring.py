"""The commands that authors use, against folders and against a stand-in for a gateway."""

import http.server
import io
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any, Protocol, get_args
from urllib.parse import parse_qs, urlsplit

import pytest

from outlet import package
from outlet.cli import main
from outlet.commands.new import Template

LOYALTY = Path(__file__).parents[3] / "plugins" / "loyalty_points"
ENTRY: dict[str, Any] = {
    "pluginId": "fraud-check",
    "name": "Fraud check",
    "version": "1.2.0",
    "author": "Acme",
    "description": "Looks at sales.",
}
WISHES = [
    {"name": "sale:read", "purpose": "to look at them"},
    {"name": "host:api.example.com", "purpose": "to ask"},
]
LINE = {
    "at": "2026-11-01T12:00:00.000+00:00",
    "level": "error",
    "message": "KeyError: 'x'",
    "during": "sale.created",
    "storeId": "s1",
    "meta": {"n": 1},
    "code": "plugin_raised",
    "stack": "Traceback ...",
}


@dataclass
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


class Outlet(Protocol):
    def __call__(self, *arguments: str | Path, said: str = "") -> Done: ...


@pytest.fixture
def outlet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Outlet:
    """The command, in this process: starting it anew takes a second."""

    def run(*arguments: str | Path, said: str = "") -> Done:
        monkeypatch.setattr(sys, "argv", ["outlet", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(said))
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(int(ended.value.code or 0), *capfd.readouterr())

    return run


class Stand(http.server.ThreadingHTTPServer):
    """Answers ``answers[METHOD path]`` and remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any], Any]] = []
        self.behind = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Stand

    def _answer(self) -> None:
        address = urlsplit(self.path)
        name = f"{self.command} {address.path}"
        sent = self.rfile.read(int(self.headers.get("content-length", 0)))
        query = {key: values[-1] for key, values in parse_qs(address.query).items()}
        self.server.asked.append((name, query, json.loads(sent) if sent else None))
        status = 200 if name in self.server.answers else 404
        body = json.dumps(self.server.answers.get(name, {"code": "not_found", "detail": name})).encode()
        self.send_response_only(status)
        self.send_header("date", formatdate(usegmt=True, timeval=None if not self.server.behind else 0))
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = _answer  # noqa: N815  the names that the library calls

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def stand() -> Iterator[Stand]:
    with Stand() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("template", get_args(Template))
def test_a_new_plugin_is_one_and_its_tests_pass(outlet: Outlet, tmp_path: Path, template: str) -> None:
    folder = tmp_path / "Low Stock_alert"
    made = json.loads(outlet("new", folder, "--template", template, "--json").stdout)
    assert made["pluginId"] == "low-stock-alert"
    assert "low_stock_alert/__init__.py" in made["files"]
    left = [path for path in folder.rglob("*") if path.is_file() and "my" + "_plugin" in path.read_text()]
    assert left == []
    done = outlet("test", folder, "--json")
    totals = json.loads(done.stdout)
    assert (done.returncode, totals["passed"], totals["failures"]) == (0, True, 0), done.stderr
    assert totals["tests"] >= 2
    assert package.build(folder).manifest.name == "Low stock alert"


@pytest.mark.parametrize("name", ["9lives", "marketplace", "-", "x" * 41])
def test_a_name_that_cannot_be_an_id_is_refused(outlet: Outlet, tmp_path: Path, name: str) -> None:
    done = outlet("new", "--template", "hook", "--", tmp_path / name)
    assert (done.returncode, (tmp_path / name).exists()) == (1, False)
    assert "cannot name a plugin" in done.stderr


def test_nothing_is_written_over(outlet: Outlet, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    done = outlet("new", tmp_path / "mine")
    assert done.returncode == 1
    assert "is not empty" in done.stderr


def test_tests_that_fail_are_told_by_the_exit_status(outlet: Outlet, tmp_path: Path) -> None:
    folder = tmp_path / "counter"
    outlet("new", folder)
    (folder / "tests" / "test_more.py").write_text("def test_it():\n    raise AssertionError\n")
    done = outlet("test", folder, "--json", "--", "-k", "test_it")
    assert done.returncode == 1
    assert json.loads(done.stdout) | {"seconds": 0} == {
        "tests": 1,
        "failures": 1,
        "errors": 0,
        "skipped": 0,
        "seconds": 0,
        "passed": False,
    }


def install(outlet: Outlet, stand: Stand, *more: str, said: str = "") -> Done:
    return outlet("install", "fraud-check", "--url", stand.url, "--token", "t", *more, said=said)


@pytest.fixture
def shop(stand: Stand) -> Stand:
    made = {"id": "i-1", "pluginId": "fraud-check", "version": "1.2.0", "status": "inactive"}
    stand.answers["GET /api/plugins/marketplace"] = {"items": [ENTRY], "nextCursor": None}
    stand.answers["GET /api/plugins/install/plan"] = {"version": "1.1.0", "wishes": WISHES}
    stand.answers["POST /api/plugins/install"] = made
    stand.answers["POST /api/plugins/i-1/activate"] = made | {"status": "active"}
    return stand


def test_what_a_plugin_asks_for_is_shown_and_granted_when_the_person_agrees(outlet: Outlet, shop: Stand) -> None:
    done = install(
        outlet, shop, "--version", "1.1.0", "--set", "limit=500", "--set", "mode=strict", "--store", "s1", said="y\n"
    )
    assert done.returncode == 0
    assert "Fraud check 1.1.0" in done.stdout
    assert "sale:read" in done.stdout
    assert "to look at them" in done.stdout
    assert "host:api.example.com" in done.stdout
    assert "is active: i-1" in done.stdout
    [sent] = [body for name, _, body in shop.asked if name == "POST /api/plugins/install"]
    assert sent == {
        "pluginId": "fraud-check",
        "version": "1.1.0",
        "storeId": "s1",
        "config": {"limit": 500, "mode": "strict"},
        "grants": ["sale:read", "host:api.example.com"],
    }


def test_without_consent_nothing_is_installed(outlet: Outlet, shop: Stand) -> None:
    assert install(outlet, shop, said="n\n").returncode == 1
    refused = install(outlet, shop, "--json")
    assert refused.returncode == 1
    assert "nobody has consented" in refused.stderr
    assert not [name for name, *_ in shop.asked if name.startswith("POST")]
    assert json.loads(install(outlet, shop, "--json", "--yes", "--no-activate").stdout)["status"] == "inactive"


def test_a_plugin_that_is_not_in_the_marketplace_is_said_to_be_missing(outlet: Outlet, stand: Stand) -> None:
    stand.answers["GET /api/plugins/marketplace"] = {"items": [], "nextCursor": None}
    done = install(outlet, stand, "--yes")
    assert done.returncode == 1
    assert "outlet publish" in done.stderr


def test_logs_are_shown_with_failures_and_as_json(outlet: Outlet, stand: Stand) -> None:
    stand.answers["GET /api/plugins"] = {"items": [{"id": "i-1", "storeId": None}], "nextCursor": None}
    stand.answers["GET /api/plugins/i-1/logs"] = {"lines": [LINE], "nextAfter": "1-1"}
    asked = ("logs", "fraud-check", "--url", stand.url, "--token", "t")
    shown = outlet(*asked).stdout
    assert "12:00:00.000 error" in shown
    assert "KeyError: 'x' n=1" in shown
    assert "Traceback ..." in shown
    assert [json.loads(line) for line in outlet(*asked, "--json").stdout.splitlines()] == [LINE]
    assert stand.asked[-1][1] == {"limit": "50"}


def test_logs_of_one_of_several_installations_are_asked_for_by_its_id(outlet: Outlet, stand: Stand) -> None:
    both = [{"id": "i-1", "storeId": None}, {"id": "i-2", "storeId": "s1"}]
    stand.answers["GET /api/plugins"] = {"items": both, "nextCursor": None}
    done = outlet("logs", "fraud-check", "--url", stand.url, "--token", "t")
    assert done.returncode == 1
    assert "i-2 (s1)" in done.stderr


def findings(outlet: Outlet, stand: Stand, *more: str) -> tuple[int, dict[str, Any]]:
    done = outlet("doctor", "--url", stand.url, "--json", *more)
    return done.returncode, {each["check"]: each for each in json.loads(done.stdout)}


def test_the_doctor_finds_a_sound_platform_sound(outlet: Outlet, stand: Stand) -> None:
    stand.answers |= {"GET /health/ready": {}, "GET /api/plugins": {"items": []}}
    status, found = findings(outlet, stand, "--token", "t")
    assert status == 0
    assert {name: found[name]["state"] for name in ("python", "platform", "clock", "token")} == dict.fromkeys(
        ("python", "platform", "clock", "token"), "ok"
    )


def test_the_doctor_says_what_is_wrong_and_what_to_do(outlet: Outlet, stand: Stand) -> None:
    stand.behind = 1
    status, found = findings(outlet, stand)
    assert status == 1
    assert (found["platform"]["state"], found["clock"]["state"], found["token"]["state"]) == (
        "failed",
        "failed",
        "warning",
    )
    assert "Set the clock" in found["clock"]["remedy"]
    gone = outlet("doctor", "--url", "http://127.0.0.1:9", "--json")
    assert gone.returncode == 1
    assert "outlet up" in json.loads(gone.stdout)[-1]["remedy"]


def test_a_plugins_reference_tells_what_its_code_and_manifest_do(outlet: Outlet, tmp_path: Path) -> None:
    target = tmp_path / "reference.md"
    assert outlet("docs", LOYALTY, "--output", target).returncode == 0
    text = target.read_text()
    for expected in (
        "# Loyalty points",
        "## Routes: `POST /points/{customer_id}/redeem`\n\nPay with points. Repeating",
        "## Events that it hears: `sale.created`\n\nGive the points a completed sale earns",
        "## Screens: `points_earned`\n\n*Points earned* at `POS.AfterCheckout`.",
        '| `redemptionRate` | number or string | `"0.01"` |',
    ):
        assert expected in text


@pytest.mark.parametrize(
    "command", ["new", "test", "dev", "install", "logs", "replay", "doctor", "lock", "docs", "build", "publish"]
)
def test_every_command_has_json_and_says_what_it_does(outlet: Outlet, command: str) -> None:
    shown = outlet(command, "--help").stdout
    assert "--json" in shown
    assert command in ("build", "publish") or "Example: outlet" in shown
