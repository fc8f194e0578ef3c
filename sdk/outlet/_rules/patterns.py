"""Which regular expressions of third parties may be evaluated: those whose worst case on a short text is quick.

Python's engine backtracks, and holds the interpreter while it does. The number of ways in which an expression can
match a text bounds its work. It is the product of every repetition's choices, as long as nothing that varies is itself
repeated; so that is refused, and the product is limited.
"""

import re

MAX_PATTERN = 200
MAX_TEXT = 200
"""Characters of a text that is matched; longer ones are refused unmatched."""
MAX_WAYS = 10_000_000

_TOKEN = re.compile(
    r"""\\. | \[\^?\]?(?:\\.|[^\]\\])*\] | \((?:\?[:=!])? | \) | \|
      | (?P<repeat>[*+?] | \{(?P<least>\d*)(?P<comma>,)?(?P<most>\d*)\})\?? | .""",
    re.DOTALL | re.VERBOSE,
)
_AMBIGUOUS = re.compile(r"\[\^?\[|--|&&|~~|\|\|")  # Python may take these for set operations one day


class UnsafePattern(ValueError):
    """A pattern that is none, or that may take too long; the message says why."""


def check_pattern(pattern: str) -> None:
    """Refuse what may take too long on a text of ``MAX_TEXT`` characters. Raises :class:`UnsafePattern`."""
    if len(pattern) > MAX_PATTERN:
        raise UnsafePattern(f"a pattern has at most {MAX_PATTERN} characters")
    if _AMBIGUOUS.search(pattern):
        raise UnsafePattern(f"{pattern!r} is ambiguous: escape '[' within a set, and '--', '&&', '~~' and '||'")
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise UnsafePattern(f"{pattern!r} is no regular expression: {error}") from None
    if _ways(pattern) > MAX_WAYS:
        raise UnsafePattern(f"{pattern!r} may take too long: use fewer repetitions without a limit")


def _ways(pattern: str) -> int:
    ways = MAX_TEXT  # a match may begin anywhere
    varies = [False]  # whether something varies, per open group
    closed = False  # whether the group that just ended varies
    previous = ""
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if text.startswith("("):
            varies.append(False)
        elif text == ")":
            closed = varies.pop()
            varies[-1] |= closed
        elif text == "|":
            ways *= 2
            varies[-1] = True
        elif token["repeat"] and previous:
            least, most = _bounds(token)
            if previous.startswith("("):
                raise UnsafePattern(f"{pattern!r} uses an extension that is not supported")
            if previous == ")" and closed and most > 1:
                raise UnsafePattern(f"{pattern!r} repeats a group that itself varies")
            ways *= max(1, most - least + 1)
            varies[-1] = True
        elif re.fullmatch(r"\\[1-9]", text):
            raise UnsafePattern(f"{pattern!r} refers back to a group")
        previous = text
    return ways


def _bounds(token: re.Match[str]) -> tuple[int, int]:
    """The least and the most repetitions; no more than the text has characters."""
    symbol = token["repeat"]
    if symbol in "*+?":
        return (1 if symbol == "+" else 0), (1 if symbol == "?" else MAX_TEXT)
    least = int(token["least"] or 0)
    most = int(token["most"] or MAX_TEXT) if token["comma"] else least
    return least, min(most, MAX_TEXT)
