"""One platform per directory."""

import fcntl
import os
from pathlib import Path
from typing import IO

from outlet.local.errors import PlatformError


class DirectoryLock:
    """Held by the process that runs the platform of a directory; the kernel frees it however that process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock. Raises PlatformError with the pid of its holder when it is taken."""
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            file.close()
            raise PlatformError(
                f"{self._path.parent} is in use by another platform (pid {holder})",
                "Stop that one, or choose another folder with --directory.",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._file:
            self._file.close()
            self._file = None
