"""`outlet token`: an access token of the development issuer."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import typer

from outlet.commands.console import needs_local
from outlet.local.roles import Role

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_lifetime(text: str) -> timedelta:
    """``90s``, ``15m``, ``1h`` or ``7d`` as a duration. Raises typer.BadParameter for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,5})([smhd])", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a lifetime such as 90s, 15m, 1h or 7d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def token(
    directory: Path,
    role: Role,
    organization: str,
    *,
    store: str | None,
    subject: str | None,
    lifetime: timedelta,
    as_json: bool,
) -> None:
    """Print a token, and nothing else, on standard output. Raises PlatformError when there is no issuer."""
    with needs_local():
        from outlet.local.issuer import Issuer
    issuer = Issuer.open(directory / "issuer")
    expires = datetime.now(UTC) + lifetime
    minted = issuer.token(role, organization, store=store, subject=subject, lifetime=lifetime)
    if as_json:
        claims = {"role": role, "organization": organization, "store": store}
        minted = json.dumps({"token": minted, **claims, "expires": expires.isoformat(timespec="seconds")})
    typer.echo(minted)
