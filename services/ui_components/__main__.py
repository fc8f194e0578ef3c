"""``python -m services.ui_components``: what belongs on a screen of the POS."""

from services.common.http import serve
from services.common.settings import IdentitySettings
from services.common.tracing import TracingSettings
from services.ui_components.app import build_app
from services.ui_components.settings import UiComponentsSettings

if __name__ == "__main__":
    settings = UiComponentsSettings()
    app = build_app(settings, IdentitySettings(), TracingSettings())
    serve(app, "ui_components", settings, settings.ui_components_port)
