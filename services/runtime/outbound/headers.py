"""The rules are the SDK's own (:mod:`outlet._rules.headers`), which the test kit keeps too."""

from outlet._rules.headers import (
    HARMLESS,
    RequestHeaders,
    request_headers,
)

__all__ = [
    "HARMLESS",
    "RequestHeaders",
    "request_headers",
]
