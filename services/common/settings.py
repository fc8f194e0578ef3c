"""Settings that every service reads from the environment, all prefixed ``OUTLET_``."""

from typing import Literal

from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """What all services share; each adds its own. A missing required value stops the start with its name."""

    model_config = SettingsConfigDict(env_prefix="OUTLET_", extra="ignore", frozen=True)

    environment: Literal["development", "production"] = "production"
    host: str = "127.0.0.1"
    kafka_bootstrap: str
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"


class IdentitySettings(BaseSettings):
    """Whose tokens are believed."""

    model_config = SettingsConfigDict(env_prefix="OUTLET_", extra="ignore", frozen=True)

    jwks: str
    """An https URL, or the path of a JWKS file."""
    jwt_issuer: str
    jwt_audience: str = "outlet"
