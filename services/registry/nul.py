"""U+0000 in an address: no name has it, and PostgreSQL can neither store nor compare it."""

from fastapi import Request

from services.common.errors import Unprocessable


async def refuse_nul(request: Request) -> None:
    """Raises :class:`Unprocessable` when the path or the query has one, before it gets to the database."""
    values = (*request.path_params.values(), *request.query_params.keys(), *request.query_params.values())
    if any("\0" in str(value) for value in values):
        raise Unprocessable("The address has the character U+0000, which no name has.")
