"""Plugin ids that are easily taken for one another."""

import re
from collections.abc import Iterable

from services.common.errors import Conflict

_LOOK_ALIKES = str.maketrans({"0": "o", "1": "l", "i": "l", "3": "e", "5": "s", "8": "b", "9": "g"})
_PAIRS = (("rn", "m"), ("vv", "w"), ("cl", "d"))
"""Letters that look like another one when they stand together."""


def likenesses(plugin_id: str) -> frozenset[str]:
    """What an id looks like to someone who reads over it: ids that share a likeness are confusingly similar.

    Case, hyphens and look-alikes (``0`` and ``o``, ``rn`` and ``m``) count for nothing; nor do digits.
    """
    compact = plugin_id.lower().replace("-", "")
    lettered = re.sub(r"\d", "", compact)
    return frozenset(_folded(text) for text in (compact, lettered) if text)


def check_distinct(plugin_id: str, taken: Iterable[str]) -> None:
    """Raises Conflict (``plugin_id_confusing``) when a new id is easily taken for another publisher's."""
    own = likenesses(plugin_id)
    for other in taken:
        if own & likenesses(other):
            raise Conflict(
                f"The plugin id {plugin_id!r} is easily taken for {other!r}, which belongs to another publisher.",
                code="plugin_id_confusing",
                remedy="Choose an id that differs in more than digits, hyphens and look-alike letters.",
            )


def _folded(text: str) -> str:
    text = text.translate(_LOOK_ALIKES)
    for pair, letter in _PAIRS:
        text = text.replace(pair, letter)
    return text
