"""How far a version is trusted, and so who may install it."""

from enum import StrEnum


class Level(StrEnum):
    """``private``: its publisher's own organization, unreviewed. ``community``: everyone, once a reviewer approved it.

    ``verified``: everyone, and a reviewer vouches for it.
    """

    PRIVATE = "private"
    COMMUNITY = "community"
    VERIFIED = "verified"
