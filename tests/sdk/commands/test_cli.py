"""The `outlet` command as its users call it."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from outlet.local.issuer import AUDIENCE, NAME, Issuer
from outlet.package import open_package
from outlet.signing import HEADER, PublicKey, Statement, verify
from services.common.auth import Role, TokenVerifier
from services.common.settings import IdentitySettings

LOYALTY = Path(__file__).parents[3] / "plugins" / "loyalty_points"


def outlet(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from outlet.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    Issuer.create(tmp_path / ".outlet" / "issuer")
    return tmp_path / ".outlet"


async def test_token_is_all_that_is_printed_and_the_services_believe_it(directory: Path) -> None:
    done = outlet("token", "--role", "cashier", "--org", "acme", "--store", "s1", "--directory", directory)
    assert done.returncode == 0
    verifier = TokenVerifier(
        IdentitySettings(jwks=str(directory / "issuer" / "jwks.json"), jwt_issuer=NAME, jwt_audience=AUDIENCE)
    )
    caller = await verifier.verify(done.stdout.removesuffix("\n"))
    assert (caller.organization, caller.store, caller.role) == ("acme", "s1", Role.CASHIER)


def test_token_as_json_says_when_it_expires(directory: Path) -> None:
    done = outlet("token", "--role", "owner", "--org", "acme", "--lifetime", "2d", "--json", "--directory", directory)
    printed = json.loads(done.stdout)
    assert printed["token"].count(".") == 2
    assert printed["expires"].endswith("+00:00")


@pytest.mark.parametrize("lifetime", ["soon", "1w", "0h", "-1h"])
def test_lifetime_that_is_none_is_refused(directory: Path, lifetime: str) -> None:
    done = outlet("token", "--role", "owner", "--org", "acme", f"--lifetime={lifetime}", "--directory", directory)
    assert done.returncode == 2
    assert "not a lifetime" in done.stderr


def test_token_without_an_issuer_says_what_to_do(tmp_path: Path) -> None:
    done = outlet("token", "--role", "owner", "--org", "acme", "--directory", tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no development issuer" in done.stderr
    assert "outlet up" in done.stderr


def test_build_writes_the_package(tmp_path: Path) -> None:
    done = outlet("build", LOYALTY, "--output", tmp_path / "loyalty.outlet", "--json")
    facts = json.loads(done.stdout)
    package = open_package((tmp_path / "loyalty.outlet").read_bytes())
    assert facts == {
        "pluginId": "loyalty-points",
        "version": package.manifest.version,
        "digest": package.digest,
        "path": str(tmp_path / "loyalty.outlet"),
        "bytes": len(package.data),
    }


def test_folder_that_is_no_plugin_is_refused(tmp_path: Path) -> None:
    done = outlet("build", tmp_path)
    assert done.returncode == 1
    assert "plugin.toml" in done.stderr


class Marketplace(http.server.BaseHTTPRequestHandler):
    """Answers every publication as its server's ``answer`` says, and keeps what it was sent."""

    server: Any

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.received.append((self.path, dict(self.headers), body))
        status, kind, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_PUT = do_DELETE = do_POST  # noqa: N815  names that http.server looks for

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def marketplace() -> Iterator[Any]:
    server: Any = http.server.HTTPServer(("127.0.0.1", 0), Marketplace)
    server.received = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_publish_sends_the_package_with_a_local_publishers_token(directory: Path, marketplace: Any) -> None:
    marketplace.answer = (201, "application/json", {"pluginId": "loyalty-points"})
    done = outlet("publish", LOYALTY, "--url", marketplace.url, "--directory", directory)
    assert done.returncode == 0, done.stderr
    assert "Published loyalty-points" in done.stdout
    [(registering, _, key), (path, headers, body)] = marketplace.received
    assert (registering, path) == ("/api/plugins/publisher-keys", "/api/plugins/marketplace?level=community")
    public = PublicKey.read(json.loads(key)["publicKey"])
    verify(headers[HEADER], public, Statement.of(open_package(body)))
    assert headers["content-type"] == "application/vnd.outlet.package"
    assert headers["authorization"].startswith("Bearer ey")
    assert open_package(body).manifest.plugin_id == "loyalty-points"


def test_refused_publication_shows_the_problem(directory: Path, marketplace: Any) -> None:
    problem = {
        "title": "Conflict",
        "detail": "1.0.0 is taken",
        "code": "version_exists",
        "remedy": "Raise the version.",
    }
    marketplace.answer = (409, "application/problem+json", problem)
    assert outlet("keys", "new", "--directory", directory).returncode == 0
    done = outlet("publish", LOYALTY, "--url", marketplace.url, "--token", "given", "--directory", directory)
    assert done.returncode == 1
    assert "409 (version_exists): 1.0.0 is taken" in done.stderr
    assert "Raise the version." in done.stderr
    assert marketplace.received[0][1]["authorization"] == "Bearer given"


def test_publish_to_nobody_says_so(directory: Path) -> None:
    done = outlet("publish", LOYALTY, "--url", "http://127.0.0.1:1", "--directory", directory)
    assert done.returncode == 1
    assert "no answer from http://127.0.0.1:1" in done.stderr


def test_local_token_is_never_sent_to_another_machine(directory: Path) -> None:
    done = outlet("publish", LOYALTY, "--url", "https://outlet.example", "--directory", directory)
    assert done.returncode == 1
    assert "a token is needed" in done.stderr


def test_missing_library_of_the_embedded_platform_is_named() -> None:
    without = "import sys; sys.modules['joserfc'] = None; from outlet.cli import main; main()"
    command = [sys.executable, "-c", without, "up"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert 'pip install "outlet[local]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_publish_for_another_machine_wants_a_key_of_the_publishers_own(directory: Path, marketplace: Any) -> None:
    done = outlet("publish", LOYALTY, "--url", marketplace.url, "--token", "given", "--directory", directory)
    assert done.returncode == 1
    assert "outlet keys new" in done.stderr
    assert marketplace.received == []


def test_yank_takes_a_version_out_of_offer_and_puts_it_back(directory: Path, marketplace: Any) -> None:
    marketplace.answer = (200, "application/json", {"latestVersion": "1.0.0"})
    asked = ("--url", marketplace.url, "--directory", directory)
    done = outlet("yank", "my-plugin", "1.1.0+b", "--reason", "counts twice", *asked)
    assert "who names none gets 1.0.0" in done.stdout
    assert outlet("yank", "my-plugin", "1.1.0+b", "--undo", *asked).returncode == 0
    (path, _, body), (undone, _, nothing) = marketplace.received
    assert path == undone == "/api/plugins/marketplace/my-plugin/versions/1.1.0%2Bb/yank"
    assert (json.loads(body), nothing) == ({"reason": "counts twice"}, b"")
