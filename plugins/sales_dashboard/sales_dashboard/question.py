"""What somebody wants to see, checked before anything is read."""

from dataclasses import dataclass
from datetime import date, timedelta

from outlet import Problem, Request

from .turnover import GROUPS

MOST_DAYS = {"hour": 14, "day": 366, "store": 366, "employee": 366}
MAY_SEE_EMPLOYEES = frozenset({"manager", "admin", "owner"})


@dataclass(frozen=True)
class Question:
    """Sums ``by`` hour, day, store or employee, from ``first`` to ``last`` (UTC); of one store, or of all."""

    by: str
    first: date
    last: date
    store: str | None

    @property
    def key(self) -> str:
        """Where the answer is cached: the same for whoever may ask the same."""
        return f"answer/{self.by}/{self.first}/{self.last}/{self.store or ''}"


def read_question(request: Request, today: date) -> Question:
    """Read ``?by=&from=&to=``: by day, over the last seven days, unless said. Raises :class:`Problem` 400, 403."""
    by = request.query.get("by") or "day"
    if by not in GROUPS:
        raise _refusal(f"by must be one of {', '.join(GROUPS)}.")
    if by == "employee" and request.caller.role not in MAY_SEE_EMPLOYEES:
        raise Problem(403, "managers_only", "What each employee sold is for managers and above.")
    last = _day(request, "to", today)
    first = _day(request, "from", max(last, date.min + timedelta(days=6)) - timedelta(days=6))
    days = (last - first).days + 1
    if not 1 <= days <= MOST_DAYS[by]:
        raise _refusal(f"from must not be after to, and by {by} there are at most {MOST_DAYS[by]} days.")
    return Question(by, first, last, request.caller.store)


def _day(request: Request, name: str, otherwise: date) -> date:
    text = request.query.get(name)
    if not text:
        return otherwise
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise _refusal(f"{name} must be a day such as 2026-01-05.") from error


def _refusal(detail: str) -> Problem:
    return Problem(400, "invalid_question", detail)
