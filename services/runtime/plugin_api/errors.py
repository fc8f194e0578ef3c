"""The rules are the SDK's own (:mod:`outlet._rules.refusal`), which the test kit keeps too."""

from outlet._rules.refusal import (
    ApiRefusal,
)

__all__ = [
    "ApiRefusal",
]
