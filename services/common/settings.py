"""Settings that every service reads from the environment, all prefixed ``OUTLET_``."""

from typing import Literal

from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.common.secret_settings import SecretKeys


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


class SecretKeySettings(BaseSettings):
    """With what secret settings of plugins are sealed. There is no default: every platform has a key of its own."""

    model_config = SettingsConfigDict(env_prefix="OUTLET_", extra="ignore", frozen=True, hide_input_in_errors=True)

    secret_keys: SecretStr
    """Keys of 32 bytes in base64url, separated by commas: the first one seals, each of them opens."""

    @field_validator("secret_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr) -> SecretStr:
        SecretKeys.parse(value.get_secret_value())
        return value

    def keys(self) -> SecretKeys:
        return SecretKeys.parse(self.secret_keys.get_secret_value())
