"""Where the programs of this machine are, and what to install when one is missing."""

import shutil
from pathlib import Path


class MissingProgramError(Exception):
    """A program is not on this machine; the message names the package that brings it."""


def find(program: str, *, package: str, also: tuple[Path, ...] = ()) -> Path:
    """The path of `program`: in the folders `also` first, then on PATH. Raises `MissingProgramError`."""
    for folder in also:
        if (folder / program).is_file():
            return folder / program
    found = shutil.which(program)
    if found is None:
        raise MissingProgramError(f"{program} is not on this machine; install the package {package}")
    return Path(found)
