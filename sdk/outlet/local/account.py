"""The unprivileged user for programs that refuse to run as root."""

import os
import pwd
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """A user to run a program as. ``reach``: it must be allowed through directories that are closed to that user."""

    uid: int
    gid: int
    reach: bool


def unprivileged(owned: Path, needed: Iterable[Path]) -> Account | None:
    """Whom to run a program as that refuses root; None when this process is not root and can run it itself.

    ``owned`` is the directory the program keeps its data in: once it belongs to a user, that user stays. ``needed`` are
    the existing files and directories of others that the program must be able to open.
    """
    if os.geteuid() != 0:
        return None
    reach = not all(_open_to_all(path) for path in needed)
    if owned.exists() and (owner := owned.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, reach)
    nobody = pwd.getpwnam("nobody")
    return Account(nobody.pw_uid, nobody.pw_gid, reach)


def _open_to_all(path: Path) -> bool:
    resolved = path.resolve()
    return all(step.stat().st_mode & 0o001 for step in (resolved, *resolved.parents))
