"""Where the commands write: data to standard output, everything said to a person to standard error or as progress."""

import contextlib
from collections.abc import Iterator

from rich.console import Console

from outlet.local.errors import PlatformError


def output() -> Console:
    """For people, on standard output."""
    return Console(highlight=False)


def errors() -> Console:
    """For people, on standard error."""
    return Console(stderr=True, highlight=False)


@contextlib.contextmanager
def needs_local() -> Iterator[None]:
    """Wrap the imports of `outlet.local`: a missing library becomes a PlatformError that says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PlatformError(
            f"the embedded platform needs {error.name!r}, which is not installed", 'Run: pip install "outlet[local]"'
        ) from error
