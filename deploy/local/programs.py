"""Where the programs of this machine are, and what to install when one is missing."""

import shutil
from pathlib import Path

from outlet.local.errors import PlatformError


def find(program: str, *, package: str, also: tuple[Path, ...] = ()) -> Path:
    """The path of `program`: in the folders `also` first, then on PATH.

    Raises `PlatformError`, whose remedy names the `package` that brings it.
    """
    for folder in also:
        if (folder / program).is_file():
            return folder / program
    found = shutil.which(program)
    if found is None:
        raise PlatformError(f"{program} is not on this machine", f"Install the package {package}.")
    return Path(found)
