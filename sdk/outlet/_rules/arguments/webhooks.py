"""The arguments of the methods of webhooks."""

from datetime import datetime

from outlet._rules.arguments import Arguments


class Register(Arguments):
    event: str
    url: str


class ListAll(Arguments):
    pass


class Named(Arguments):
    id: str


class Log(Arguments):
    id: str
    before: datetime | None = None
    limit: int = 50
