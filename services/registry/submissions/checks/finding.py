"""One thing that an automatic check has found."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """An ``error`` keeps a version from everyone; a ``warning`` is for the reviewer to judge. ``code`` is stable."""

    code: str
    severity: Severity
    path: str
    line: int | None
    message: str
