"""The body of a redemption, checked before anything moves."""

from dataclasses import dataclass

from outlet import Problem, Request

MAX_POINTS = 1_000_000_000
MAX_REFERENCE = 100


@dataclass(frozen=True)
class Redemption:
    """How many points to take (at least 1), under which reference of the till's, if any."""

    points: int
    reference: str | None


def read_redemption(request: Request) -> Redemption:
    """Read ``{"points": n, "reference"?: text}``. Raises :class:`Problem` 400."""
    body = request.json()
    if not isinstance(body, dict):
        raise _refusal("The body must be a JSON object.")
    points, reference = body.get("points"), body.get("reference")
    # bool is an int in Python, and no number of points.
    if not isinstance(points, int) or isinstance(points, bool) or not 1 <= points <= MAX_POINTS:
        raise _refusal(f"points must be a whole number from 1 to {MAX_POINTS}.")
    if reference is not None and not (isinstance(reference, str) and 1 <= len(reference) <= MAX_REFERENCE):
        raise _refusal(f"reference must be a text of 1 to {MAX_REFERENCE} characters.")
    return Redemption(points, reference)


def _refusal(detail: str) -> Problem:
    return Problem(400, "invalid_redemption", detail)
