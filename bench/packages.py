"""The registry as a worker needs it here: it hands out packages by digest."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from outlet.local.network import LOOPBACK
from outlet.package import Package


@contextmanager
def serving(packages: Sequence[Package]) -> Iterator[str]:
    """The base URL of a server of these packages."""
    known = {f"/internal/packages/{package.digest}": package.data for package in packages}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = known.get(self.path)
            self.send_response(HTTPStatus.NOT_FOUND if data is None else HTTPStatus.OK)
            self.send_header("content-length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name in http.server
            """Say nothing."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
