"""Transactions within the one that every call of a handler is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any

from outlet._calls import SAVEPOINT
from outlet._errors import ApiError

_inside: ContextVar[int] = ContextVar("transaction", default=0)


@asynccontextmanager
async def transaction(call: Callable[[str, dict[str, Any]], Awaitable[Any]]) -> AsyncIterator[None]:
    """See :meth:`outlet.Api.transaction`."""
    number = await call("transactions.begin", {})
    outer = _inside.set(number)
    try:
        yield
    except BaseException:
        # What cannot be undone dooms the whole call on the platform's side; the author wants to see what was raised.
        with suppress(ApiError):
            await call("transactions.rollback", {})
        raise
    else:
        await call("transactions.commit", {})
    finally:
        _inside.reset(outer)


def marked(arguments: dict[str, Any]) -> dict[str, Any]:
    """``arguments`` with the transaction that the present task is in."""
    number = _inside.get()
    return {**arguments, SAVEPOINT: number} if number else arguments
