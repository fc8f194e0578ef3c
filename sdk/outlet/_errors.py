"""What a plugin may raise, and what the platform raises in it."""


class ApiError(Exception):
    """The platform refused or could not do what an API call asked for.

    ``code`` is stable (``not_allowed_here``, ``unique_violation``, ...), ``message`` is written for the author.
    Everything the handler did is rolled back unless the handler catches this and returns.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Problem(Exception):
    """Raised in a route: the answer is a problem document (RFC 9457) with this HTTP status.

    ``status`` is 400 to 599, ``code`` a stable name for programs (``insufficient_points``), ``detail`` a sentence for
    people. Everything the route did is rolled back.
    """

    def __init__(self, status: int, code: str, detail: str) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"a problem has a status from 400 to 599, not {status}")
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


class InvalidBody(Problem, ValueError):
    """A request's body is not the JSON it should be: 400 ``invalid_json`` unless the route catches it."""

    def __init__(self, detail: str) -> None:
        super().__init__(400, "invalid_json", detail)


class DeclarationError(ValueError):
    """A hook, route or component that could never run; raised where it is declared."""
