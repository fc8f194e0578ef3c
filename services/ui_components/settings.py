"""What ui_components reads from the environment."""

from services.common.settings import ServiceSettings


class UiComponentsSettings(ServiceSettings):
    """Nothing of its own but the port."""

    ui_components_port: int = 8083
