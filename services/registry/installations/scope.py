"""Whose installation it is: a caller sees and changes only what lies within the token's organization and store."""

from services.common.auth import Caller
from services.common.errors import Forbidden, NotFound
from services.registry.installations.repository import Row


def check_sees(caller: Caller, row: Row | None) -> Row:
    """The installation with its version, if it is in effect in the caller's organization and store.

    Raises NotFound otherwise, in the same words whether it exists or not.
    """
    if (
        row is None
        or row[0].organization_id != caller.organization
        or (caller.store is not None and row[0].store_id not in (None, caller.store))
    ):
        raise NotFound("There is no such installation.", code="installation_not_found")
    return row


def check_manages(caller: Caller, row: Row | None) -> Row:
    """Like :func:`check_sees`; also raises Forbidden (``wrong_store``) when a store's token is to change all stores."""
    installation, version = check_sees(caller, row)
    if caller.store is not None and installation.store_id != caller.store:
        raise Forbidden(
            f"This token is bound to store {caller.store!r}; the installation covers the whole organization.",
            code="wrong_store",
        )
    return installation, version
