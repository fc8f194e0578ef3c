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
            self.send_response(200)
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


def write_package(folder: Path) -> str:
    """Write a package of stand-ins into ``folder`` and return its name."""
    package = folder / "stand_ins_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for name, port in PORTS.items():
        (package / f"{name}.py").write_text(f"NAME, PORT = {name!r}, {port!r}\n{dedent(HTTP)}")
    (package / "runtime.py").write_text(dedent(GRPC))
    return package.name
