"""What the registry reads from the environment."""

from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from services.common.settings import IdentitySettings, SecretKeySettings, ServiceSettings
from services.registry.licences.development_payments import DevelopmentPayments
from services.registry.licences.providers import PaymentProvider
from services.registry.licences.stripe_payments import StripePayments


class RegistrySettings(ServiceSettings, IdentitySettings, SecretKeySettings):
    """``kafka_partitions`` and ``kafka_replication`` are for topics that the registry creates."""

    registry_database_url: str
    redis_url: str
    registry_port: int = 8081
    kafka_create_topics: bool = True
    kafka_partitions: int = 12
    kafka_replication: int = 1
    lifecycle_deadline: float = 30.0
    """Seconds that a worker gives one lifecycle hook."""
    update_turn_seconds: float = Field(default=5.0, gt=0)
    """Between two looks at what is to be updated by itself, or is in a roll-out."""
    bulk_at_once: int = Field(default=4, ge=1, le=64)
    """Stores of bulk jobs that one registry works on at a time."""
    bulk_turn_seconds: float = Field(default=1.0, gt=0)
    """Between two looks at whether a bulk job has come."""
    database_connections: int = 10
    package_storage: str = "database"
    """``database``, or the URL of a folder for fsspec: ``file:///var/lib/outlet/packages``, ``s3://bucket/packages``."""
    upstream_url: str | None = None
    """The gateway of another platform, whose public catalogue is mirrored."""
    upstream_token: SecretStr = SecretStr("")
    """A token of the other platform with the role `mirror`."""
    upstream_keys: str = ""
    """The ids (JWK thumbprints) of the publishers' keys whose signatures count, separated by commas."""
    upstream_seconds: float = 60.0
    review: Literal["required", "automatic"] = "required"
    """Whether a version that passed the automatic checks waits for a reviewer before everyone can install it."""
    operator_organization: str | None = None
    """Whose reviewers decide on plugins; None: whoever has a token with that role."""

    @model_validator(mode="after")
    def _check_upstream(self) -> Self:
        if self.upstream_url is not None and not (self.upstream_token.get_secret_value() and self.pinned_keys()):
            raise ValueError("OUTLET_UPSTREAM_URL needs OUTLET_UPSTREAM_TOKEN and OUTLET_UPSTREAM_KEYS")
        return self

    def pinned_keys(self) -> frozenset[str]:
        """The ids of the keys that are believed of upstream."""
        return frozenset(filter(None, map(str.strip, self.upstream_keys.split(","))))

    licence_seconds: float = 30.0
    """How often it is looked whether licences have run out."""
    payment_provider: Literal["none", "stripe", "development"] = "none"
    stripe_api_key: SecretStr = SecretStr("")
    stripe_webhook_secret: SecretStr = SecretStr("")
    stripe_api_base: str | None = None

    @model_validator(mode="after")
    def _check_payments(self) -> Self:
        if self.payment_provider == "development" and self.environment != "development":
            raise ValueError("payment_provider: development believes whoever says that something was paid")
        secrets = (self.stripe_api_key, self.stripe_webhook_secret)
        if self.payment_provider == "stripe" and not all(secret.get_secret_value() for secret in secrets):
            raise ValueError("payment_provider: stripe needs stripe_api_key and stripe_webhook_secret")
        return self

    def payments(self) -> PaymentProvider | None:
        """Where organizations pay; None: nowhere."""
        match self.payment_provider:
            case "stripe":
                key, secret = self.stripe_api_key.get_secret_value(), self.stripe_webhook_secret.get_secret_value()
                return StripePayments(key, secret, api_base=self.stripe_api_base)
            case "development":
                return DevelopmentPayments()
            case "none":
                return None
