"""Which service listens where, and what each is told through its environment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from outlet.local import secret_keys
from outlet.local.backing import DATABASES, KAFKA, REDIS, Backing
from outlet.local.errors import PlatformError
from outlet.local.issuer import AUDIENCE, NAME, Issuer
from outlet.local.network import LOOPBACK, free_ports, is_free

PORT_VARIABLES = {
    "gateway": "OUTLET_PORT",
    "registry": "OUTLET_REGISTRY_PORT",
    "runtime": "OUTLET_RUNTIME_PORT",
    "insights": "OUTLET_INSIGHTS_PORT",
    "ui_components": "OUTLET_UI_COMPONENTS_PORT",
}
METRICS_PORT = "OUTLET_RUNTIME_METRICS_PORT"
INSTANCE = "OUTLET_WORKER_INSTANCE"


@dataclass(frozen=True)
class Ports:
    """TCP ports on loopback; two per runtime worker: gRPC and metrics."""

    gateway: int
    registry: int
    ui_components: int
    insights: int
    runtime: tuple[int, ...]
    runtime_metrics: tuple[int, ...]

    @classmethod
    def choose(cls, gateway: int | None, workers: int, environ: Mapping[str, str]) -> "Ports":
        """Free ports, except where ``gateway`` or the environment asks for a certain one. Raises PlatformError."""
        free = iter(free_ports(4 + 2 * workers))

        def asked(service: str) -> int:
            text = environ.get(PORT_VARIABLES[service])
            return _number(PORT_VARIABLES[service], text) if text else next(free)

        return cls(
            gateway=next(free) if gateway is None else gateway,
            registry=asked("registry"),
            ui_components=asked("ui_components"),
            insights=asked("insights"),
            runtime=(asked("runtime"), *(next(free) for _ in range(workers - 1))),
            runtime_metrics=tuple(next(free) for _ in range(workers)),
        )

    def of(self, service: str) -> tuple[int, ...]:
        """The ports of a service, one per process."""
        ports = getattr(self, service)
        return ports if isinstance(ports, tuple) else (ports,)

    def check(self) -> None:
        """Raise PlatformError if another program listens on one of the ports."""
        for service, variable in PORT_VARIABLES.items():
            for port in self.of(service):
                if not is_free(port):
                    raise PlatformError(
                        f"port {port}, for the {service} service, is taken by another program",
                        f"Stop that program, or choose another port with {variable}.",
                    )


def url(port: int) -> str:
    """The base URL of an HTTP service on loopback."""
    return f"http://{LOOPBACK}:{port}"


def environments(
    service: str, ports: Ports, backing: Backing, issuer: Issuer, environ: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """The environment of each process of a service.

    It is ``environ`` with what the platform decides in its place. A database is told only to the service that owns it,
    keys of secrets only to those that seal and open them. A lasting name of workers is made one for each.
    """
    decided = {
        "OUTLET_ENVIRONMENT": "development",
        "OUTLET_HOST": LOOPBACK,
        KAFKA: backing.bootstrap,
        REDIS: backing.redis_url,
        "OUTLET_KAFKA_CREATE_TOPICS": "false" if backing.embedded_broker else "true",
        "OUTLET_JWKS": str(issuer.jwks_path),
        "OUTLET_JWT_ISSUER": NAME,
        "OUTLET_JWT_AUDIENCE": AUDIENCE,
        "OUTLET_REGISTRY_URL": url(ports.registry),
        "OUTLET_UI_COMPONENTS_URL": url(ports.ui_components),
        "PYTHONUNBUFFERED": "1",
    }
    withheld = {*DATABASES.values(), *(() if service in secret_keys.SERVICES else (secret_keys.VARIABLE,))}
    inherited = {name: value for name, value in environ.items() if name not in withheld}
    if service in DATABASES:
        decided[DATABASES[service]] = backing.database_urls[service]
    for index, port in enumerate(ports.of(service)):
        yield {
            "OUTLET_LOG_FORMAT": "console",
            "OUTLET_DRAIN_SECONDS": "2",
            "OUTLET_REVIEW": "automatic",
            **inherited,
            **decided,
            PORT_VARIABLES[service]: str(port),
            METRICS_PORT: str(ports.runtime_metrics[index if service == "runtime" else 0]),
            **({INSTANCE: f"{inherited[INSTANCE]}-{index}"} if INSTANCE in inherited else {}),
        }


def _number(variable: str, text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise PlatformError(f"{variable} is not a port number: {text!r}")
    return int(text)
