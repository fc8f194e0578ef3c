"""What the gateway reads from the environment."""

from services.common.settings import ServiceSettings


class GatewaySettings(ServiceSettings):
    """Deadlines are seconds. ``registry_url`` and ``ui_components_url`` are the services behind the gateway."""

    port: int = 8080
    redis_url: str
    registry_url: str
    ui_components_url: str
    realtime_origins: tuple[str, ...] = ()
    """Origins (as JSON) whose pages may connect to the realtime endpoint, beside the gateway's own."""
    route_deadline: float = 10.0
    lifecycle_deadline: float = 30.0
