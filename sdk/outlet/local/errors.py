"""What can go wrong while the embedded platform starts or runs, in words a developer can act on."""

from pathlib import Path


class PlatformError(Exception):
    """The embedded platform cannot do what was asked: ``message`` is what happened, ``remedy`` what to do about it."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class ProcessFailed(PlatformError):
    """A program ended, or did not become ready in time. ``output`` holds the last lines it wrote."""

    def __init__(self, name: str, what: str, output: str, log: Path | None = None) -> None:
        super().__init__(f"{name} {what}", f"The whole log is in {log}." if log else "")
        self.name = name
        self.output = output

    def __str__(self) -> str:
        return f"{self.message}\n{self.output}".rstrip()
