"""Settings that every service reads from the environment, all prefixed ``OUTLET_``."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Self

from pydantic import Field, SecretStr, field_validator, model_validator
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


SERVICE_ACCOUNT_ISSUER = "outlet-registry"
"""The ``iss`` of the tokens that the registry gives to service accounts."""


class TrustedIssuer(NamedTuple):
    """Whose tokens are believed, and where its keys are: an https URL, the path of a JWKS file, or the JWKS itself.

    One for ``service_accounts`` is believed about those alone, and no other about them.
    """

    name: str
    jwks: str | Mapping[str, Any]
    service_accounts: bool = False


class IdentitySettings(BaseSettings):
    """Whose tokens are believed."""

    model_config = SettingsConfigDict(env_prefix="OUTLET_", extra="ignore", frozen=True)

    jwks: str
    """An https URL, or the path of a JWKS file."""
    jwt_issuer: str
    jwt_audience: str = "outlet"
    jwt_further_issuers: dict[str, str] = Field(default_factory=dict)
    """Where the keys of each further issuer are, by its ``iss``."""
    service_account_jwks: str | None = None
    """Where the registry's keys for service accounts are; None: this service believes no tokens of theirs."""

    @model_validator(mode="after")
    def _check_issuers(self) -> Self:
        names = [self.jwt_issuer, *self.jwt_further_issuers, SERVICE_ACCOUNT_ISSUER]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the issuer {name!r} is named twice, or is the platform's own")
        return self

    def trusted_issuers(self) -> list[TrustedIssuer]:
        """All of them, each name once."""
        further = [TrustedIssuer(name, jwks) for name, jwks in self.jwt_further_issuers.items()]
        own = self.service_account_jwks
        registry = [] if own is None else [TrustedIssuer(SERVICE_ACCOUNT_ISSUER, own, service_accounts=True)]
        return [TrustedIssuer(self.jwt_issuer, self.jwks), *further, *registry]


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
