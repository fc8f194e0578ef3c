"""The rules are the SDK's own (:mod:`outlet._rules.documents`), which the test kit keeps too."""

from outlet._rules.documents import (
    MAX_DEPTH,
    decode_document,
    encode_document,
)

__all__ = [
    "MAX_DEPTH",
    "decode_document",
    "encode_document",
]
