"""Tokens of the development issuer, as the services see them."""

import json
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from outlet.local.errors import PlatformError
from outlet.local.issuer import AUDIENCE, NAME, Issuer
from services.common.auth import Caller, Role, TokenVerifier
from services.common.errors import Unauthenticated
from services.common.settings import IdentitySettings


def verifier(issuer: Issuer) -> TokenVerifier:
    return TokenVerifier(IdentitySettings(jwks=str(issuer.jwks_path), jwt_issuer=NAME, jwt_audience=AUDIENCE))


async def test_token_says_who_calls_from_where(tmp_path: Path) -> None:
    issuer = Issuer.create(tmp_path)
    token = issuer.token("cashier", "acme", store="s1", subject="kim")
    assert await verifier(issuer).verify(token) == Caller("kim", "acme", "s1", Role.CASHIER)


async def test_token_without_store_is_valid_in_the_whole_organization(tmp_path: Path) -> None:
    issuer = Issuer.create(tmp_path)
    assert (await verifier(issuer).verify(issuer.token("owner", "acme"))).store is None


async def test_issuer_of_a_directory_stays_the_same(tmp_path: Path) -> None:
    token = Issuer.create(tmp_path).token("owner", "acme")
    assert await verifier(Issuer.create(tmp_path)).verify(token)


async def test_token_of_another_issuer_is_refused(tmp_path: Path) -> None:
    token = Issuer.create(tmp_path / "one").token("owner", "acme")
    with pytest.raises(Unauthenticated):
        await verifier(Issuer.create(tmp_path / "other")).verify(token)


async def test_expired_token_is_refused(tmp_path: Path) -> None:
    issuer = Issuer.create(tmp_path)
    with pytest.raises(Unauthenticated):
        await verifier(issuer).verify(issuer.token("owner", "acme", lifetime=timedelta(minutes=-5)))


def test_private_key_is_its_owners_alone_and_not_among_the_published_ones(tmp_path: Path) -> None:
    issuer = Issuer.create(tmp_path / "issuer")
    assert stat.S_IMODE((tmp_path / "issuer" / "private.json").stat().st_mode) == 0o600
    assert "d" not in json.loads(issuer.jwks_path.read_text())["keys"][0]


def test_missing_issuer_is_not_made_by_looking_for_it(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no development issuer"):
        Issuer.open(tmp_path)
    assert not list(tmp_path.iterdir())
