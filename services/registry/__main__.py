"""``python -m services.registry``: serve until SIGTERM."""

from services.common.http import serve
from services.common.tracing import TracingSettings
from services.registry.app import create_registry
from services.registry.settings import RegistrySettings


def main() -> None:
    """Read the settings and serve."""
    settings = RegistrySettings()  # required values come from the environment
    serve(create_registry(settings, TracingSettings()), "registry", settings, settings.registry_port)


if __name__ == "__main__":
    main()
