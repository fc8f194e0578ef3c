"""The rules are the SDK's own (:mod:`outlet._rules.personal_data`), which the test kit keeps too."""

from outlet._rules.personal_data import (
    GRANTS,
    KINDS,
    Hidden,
    Kind,
    hidden_from,
    kind_of_path,
    personal_members,
    redact,
)

__all__ = [
    "GRANTS",
    "KINDS",
    "Hidden",
    "Kind",
    "hidden_from",
    "kind_of_path",
    "personal_members",
    "redact",
]
