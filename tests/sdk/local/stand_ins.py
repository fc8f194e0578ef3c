"""Small services in the place of the real ones, so that the supervisor is tested with real processes of its own."""

from pathlib import Path
from textwrap import dedent

HTTP = """
    import http.server, json, os, signal, sys

    if os.environ.get("STAND_IN_FAILS") == NAME:
        print("the stand-in was told to fail", flush=True)
        sys.exit(3)
    if os.environ.get("STAND_IN_IGNORES_SIGTERM") == NAME:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("listening", flush=True)


    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = json.dumps(dict(os.environ)).encode()
            self.send_response(503 if os.environ.get("STAND_IN_NEVER_READY") == NAME else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


    http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ[PORT])), Handler).serve_forever()
"""

GRPC = """
    import os
    from concurrent import futures

    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    server = grpc.server(futures.ThreadPoolExecutor(2))
    answers = health.HealthServicer()
    answers.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(answers, server)
    server.add_insecure_port("127.0.0.1:" + os.environ["OUTLET_RUNTIME_PORT"])
    server.start()
    server.wait_for_termination()
"""

PORTS = {
    "registry": "OUTLET_REGISTRY_PORT",
    "ui_components": "OUTLET_UI_COMPONENTS_PORT",
    "gateway": "OUTLET_PORT",
}


def write_package(folder: Path, name: str = "stand_ins_package") -> None:
    """Write a package of stand-ins into ``folder``."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for service, port in PORTS.items():
        (package / f"{service}.py").write_text(f"NAME, PORT = {service!r}, {port!r}\n{dedent(HTTP)}")
    runtime = package / "runtime"
    runtime.mkdir()
    (runtime / "__init__.py").touch()
    (runtime / "__main__.py").write_text(dedent(GRPC))
    (runtime / "insights.py").write_text(f"NAME, PORT = 'insights', 'OUTLET_INSIGHTS_PORT'\n{dedent(HTTP)}")
