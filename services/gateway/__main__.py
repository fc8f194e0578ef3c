"""``python -m services.gateway``: the one public door of the platform."""

from services.common.http import serve
from services.common.settings import IdentitySettings
from services.common.tracing import TracingSettings
from services.gateway.app import build_app
from services.gateway.settings import GatewaySettings

if __name__ == "__main__":
    settings = GatewaySettings()
    serve(build_app(settings, IdentitySettings(), TracingSettings()), "gateway", settings, settings.port)
