"""How the Plugin API says no: with a code for the program and a sentence for its author."""


class ApiRefusal(Exception):
    """The plugin asked for something that it cannot have; it sees ``outlet.ApiError`` with this code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
