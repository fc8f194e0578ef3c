"""A publisher's keys on this machine: one file for each, which nobody but its owner may read."""

import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from outlet import signing
from outlet.local.errors import PlatformError

if TYPE_CHECKING:
    from joserfc.jwk import OKPKey

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SUFFIX = ".key.json"


class KeyFiles:
    """The keys in a folder, by name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """The names of all keys."""
        return sorted(path.name.removesuffix(SUFFIX) for path in self._folder.glob(f"*{SUFFIX}"))

    def exists(self, name: str) -> bool:
        return self.path(name).exists()

    def path(self, name: str) -> Path:
        """Where a key is, or would be. Raises PlatformError for a name that is none."""
        if not NAME.fullmatch(name):
            raise PlatformError(f"{name!r} is no name for a key", "Use letters, digits, dots, hyphens, underscores.")
        return self._folder / f"{name}{SUFFIX}"

    def create(self, name: str) -> "OKPKey":
        """Make a key. Raises PlatformError when there is one of this name: a key is never overwritten."""
        path, key = self.path(name), signing.new_key()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise PlatformError(f"there is a key {name!r} already: {path}", "Give the new one another name.") from error
        with os.fdopen(opened, "w") as file:
            file.write(json.dumps(key.as_dict(private=True)))
        return key

    def read(self, name: str) -> "OKPKey":
        """A key. Raises PlatformError when there is none, or others may read it."""
        from joserfc.errors import JoseError
        from joserfc.jwk import OKPKey

        path = self.path(name)
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise PlatformError(f"others may read the private key {path}", f"Run: chmod 600 {path}")
            return OKPKey.import_key(json.loads(path.read_text()))
        except FileNotFoundError as error:
            raise PlatformError(
                f"there is no key {name!r} in {self._folder}",
                "Make one with `outlet keys new`, and register it with `outlet keys register`.",
            ) from error
        except (OSError, ValueError, JoseError) as error:
            raise PlatformError(f"the key {path} cannot be read: {error}") from error
