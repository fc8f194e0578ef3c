"""The rules are the SDK's own (:mod:`outlet._rules.settings_schema`), which the test kit keeps too."""

from outlet._rules.settings_schema import (
    MAX_CONFIG_BYTES,
    config_faults,
)

__all__ = [
    "MAX_CONFIG_BYTES",
    "config_faults",
]
