"""`outlet audit` as its users call it, against a stand-in gateway, and on exported logs."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from outlet.cli import app
from services.registry.audit.chain import BEGINNING, Entry, encode, link

GIVEN = "given"
ENTRY = {
    "sequence": 2,
    "at": "2026-11-01T12:00:00Z",
    "action": "installation.activate",
    "outcome": "done",
    "by": {"subject": "ann\x1b[2J", "role": "owner"},
    "about": {"pluginId": "loyalty-points", "storeId": None},
}


class Gateway(http.server.BaseHTTPRequestHandler):
    """Answers every path with its server's ``answer``."""

    server: Any

    def do_GET(self) -> None:
        self.server.received.append((self.path, self.headers["authorization"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(self.server.answer)

    def do_POST(self) -> None:
        self.server.exchanged.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access_token": "exchanged"}')

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), Gateway)
    server.received, server.exchanged, server.answer = [], [], b"{}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def audit(*arguments: str, gateway: Any = None, token: str = GIVEN) -> Result:
    told = [] if gateway is None else ["--url", f"http://127.0.0.1:{gateway.server_port}", "--token", token]
    return CliRunner().invoke(app, ["audit", *arguments, *told])


def exported(count: int = 3) -> list[str]:
    """The lines of an exported log, as the registry writes them."""
    lines, previous = [], BEGINNING
    for number in range(1, count + 1):
        entry = Entry(
            organization_id="acme", sequence=number, at="2026-11-01T12:00:00.000000Z", action="plugin.publish",
            outcome="done", by={"subject": "ann"}, origin={}, about={"rate": 1.5, "name": "Café"}, before={}, after={},
        )  # fmt: skip
        kept = link(previous, encode(entry))
        lines.append(f'{{"entry":{encode(entry)},"previousHash":"{previous.hex()}","hash":"{kept.hex()}"}}\n')
        previous = kept
    return [*lines, f'{{"end":true,"entries":{count},"hash":"{previous.hex()}"}}\n']


def test_list_shows_entries_and_asks_for_what_was_named(gateway: Any) -> None:
    gateway.answer = json.dumps({"items": [ENTRY], "nextCursor": None}).encode()
    done = audit("list", "--action", "installation.activate", "--since", "2026-11-01T00:00Z", gateway=gateway)
    assert done.exit_code == 0, done.output
    assert "     2  2026-11-01T12:00:00Z  ann?[2J  installation.activate done  loyalty-points" in done.output
    [(path, authorization)] = gateway.received
    assert path.startswith("/api/plugins/audit?action=installation.activate&since=2026-11-01T00%3A00%3A00")
    assert authorization == "Bearer given"


def test_an_exported_log_is_written_as_it_came_and_verified_without_anybody(gateway: Any, tmp_path: Path) -> None:
    gateway.answer = "".join(exported()).encode()
    file = tmp_path / "audit.jsonl"
    assert audit("export", "--output", str(file), gateway=gateway).exit_code == 0
    assert file.read_bytes() == gateway.answer
    done = audit("verify", "--file", str(file))
    assert (done.exit_code, done.output.startswith("Whole: 3 entries")) == (0, True)


def test_an_export_that_breaks_off_is_a_failure(gateway: Any, tmp_path: Path) -> None:
    gateway.answer = "".join(exported()[:-1]).encode()
    done = audit("export", "--output", str(tmp_path / "audit.jsonl"), gateway=gateway)
    assert done.exit_code == 1
    assert "broke off" in str(done.exception)


@pytest.mark.parametrize(
    ("name", "broken"),
    [("changed", 2), ("removed", 2), ("reordered", 1), ("cut", 4), ("end", 4)],
)
def test_a_tampered_file_is_found(tmp_path: Path, name: str, broken: int) -> None:
    lines = exported()
    match name:
        case "changed":
            lines[1] = lines[1].replace("ann", "bob")
        case "removed":
            del lines[1]
        case "reordered":
            lines[0], lines[1] = lines[1], lines[0]
        case "cut":
            del lines[3]
        case "end":
            lines[3] = lines[3].replace('"entries":3', '"entries":4')
    file = tmp_path / "audit.jsonl"
    file.write_text("".join(lines))
    done = audit("verify", "--file", str(file), "--json")
    assert done.exit_code == 3
    assert json.loads(done.output)["broken"]["sequence"] == broken


def test_the_platforms_own_verification_sets_the_exit_status(gateway: Any) -> None:
    for valid, status in ((True, 0), (False, 3)):
        broken = None if valid else {"sequence": 4, "reason": "the entry is missing"}
        gateway.answer = json.dumps({"valid": valid, "entries": 3, "head": "00", "broken": broken}).encode()
        done = audit("verify", gateway=gateway)
        assert done.exit_code == status
    assert "BROKEN at entry 4: the entry is missing" in done.output


def test_the_key_of_a_service_account_is_exchanged_and_not_sent(gateway: Any) -> None:
    gateway.answer = json.dumps({"items": [], "nextCursor": None}).encode()
    assert audit("list", gateway=gateway, token="outlet_sa_1").exit_code == 0
    assert gateway.exchanged == ["grant_type=client_credentials&client_secret=outlet_sa_1"]
    [(_, authorization)] = gateway.received
    assert authorization == "Bearer exchanged"
