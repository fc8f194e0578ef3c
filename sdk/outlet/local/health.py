"""Whether a service of the platform is ready, as the service itself says."""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from outlet.local.network import LOOPBACK, exchange

CALL_TIMEOUT = 1.0
_RECONNECT_SOON = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]


async def http_ready(port: int) -> bool:
    """Whether ``GET /health/ready`` on a loopback port answers 200."""
    request = f"GET /health/ready HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
    status_line, _, _ = (await exchange(port, request.encode(), CALL_TIMEOUT)).partition(b"\r\n")
    return status_line.split()[1:2] == [b"200"]


async def grpc_ready(port: int) -> bool:
    """Whether the gRPC health service (grpc.health.v1) on a loopback port says SERVING."""
    async with grpc.aio.insecure_channel(f"{LOOPBACK}:{port}", options=_RECONNECT_SOON) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=CALL_TIMEOUT, wait_for_ready=True
            )
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
