"""What a plugin is told when an installation of it is updated."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The update of one installation to the version whose code is called. ``from_version`` is what it had before."""

    from_version: str
