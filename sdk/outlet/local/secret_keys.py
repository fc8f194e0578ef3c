"""The key that secret settings of plugins are sealed with on this machine; production brings keys of its own."""

import os
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "OUTLET_SECRET_KEYS"
SERVICES = ("registry", "runtime")
"""Those that are told."""
KEY_BYTES = 32


def secret_keys(directory: Path, environ: Mapping[str, str]) -> str:
    """The keys that ``environ`` names, or the one of this directory, made if there is none yet.

    It lasts as long as the data beside it, which cannot be read without it.
    """
    if environ.get(VARIABLE):
        return environ[VARIABLE]
    kept = directory / "secret-key"
    if not kept.exists():
        staging = kept.with_suffix(".new")
        staging.unlink(missing_ok=True)
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode().rstrip("="))
        staging.replace(kept)
    return kept.read_text()
