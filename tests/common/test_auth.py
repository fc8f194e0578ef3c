"""Whose tokens are believed: several issuers, each with its own keys, about its own kind of callers."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OKPKey
from pydantic import ValidationError

from services.common.auth import Right, Role, TokenVerifier
from services.common.errors import Unauthenticated, Unavailable
from services.common.settings import IdentitySettings

ALGORITHM = "Ed25519"


class Issuer:
    """Somebody who signs tokens, and the file that the keys are in."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.key = OKPKey.generate_key("Ed25519", {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        self.jwks = folder / f"{name}.json"
        self.jwks.write_text(json.dumps(KeySet([self.key]).as_dict(private=False)))

    def token(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.name, "aud": "outlet", "sub": "me", "exp": now + 60, "org": "acme", "role": "owner"}
        header = {"alg": ALGORITHM, "kid": self.key.kid}
        return jwt.encode(header, claims | changes, self.key, algorithms=[ALGORITHM])


@pytest.fixture
def issuers(tmp_path: Path) -> dict[str, Issuer]:
    names = ("first", "second", "outlet-registry", "stranger")
    return {name: Issuer(name, tmp_path) for name in names}


@pytest.fixture
def verifier(issuers: dict[str, Issuer]) -> TokenVerifier:
    return TokenVerifier(
        IdentitySettings(
            jwks=str(issuers["first"].jwks),
            jwt_issuer="first",
            jwt_further_issuers={"second": str(issuers["second"].jwks)},
            service_account_jwks=str(issuers["outlet-registry"].jwks),
        )
    )


@pytest.mark.parametrize("name", ["first", "second"])
async def test_each_issuer_is_believed(verifier: TokenVerifier, issuers: dict[str, Issuer], name: str) -> None:
    caller = await verifier.verify(issuers[name].token())
    assert (caller.subject, caller.role, caller.service_account) == ("me", Role.OWNER, None)


async def test_the_registry_is_believed_about_service_accounts(
    verifier: TokenVerifier, issuers: dict[str, Issuer]
) -> None:
    token = issuers["outlet-registry"].token(role="service", sub="service-account:7", scope="read everything install")
    caller = await verifier.verify(token)
    assert (caller.role, caller.service_account) == (Role.SERVICE, "7")
    assert caller.rights == {Right.READ, Right.INSTALL}


@pytest.mark.parametrize(
    ("signer", "changes"),
    [
        ("stranger", {}),
        ("stranger", {"iss": "first"}),
        ("stranger", {"iss": "outlet-registry", "role": "service", "scope": "install"}),
        ("second", {"iss": "first"}),
        ("first", {"iss": "second"}),
        ("first", {"iss": "outlet-registry", "role": "service", "scope": "install"}),
        ("first", {"role": "service", "scope": "install"}),
        ("outlet-registry", {"role": "owner"}),
        ("first", {"iss": None}),
        ("first", {"iss": ["first", "second"]}),
        ("first", {"iss": ""}),
    ],
)
async def test_nobody_speaks_for_another_issuer(
    verifier: TokenVerifier, issuers: dict[str, Issuer], signer: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuers[signer].token(**changes))


async def test_another_issuers_key_under_a_known_key_id_is_refused(
    verifier: TokenVerifier, issuers: dict[str, Issuer]
) -> None:
    stranger = OKPKey.generate_key("Ed25519", {"kid": str(issuers["first"].key.kid)})
    issuers["stranger"].key = stranger
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuers["stranger"].token(iss="first"))


async def test_service_accounts_are_refused_where_no_keys_of_theirs_are_known(issuers: dict[str, Issuer]) -> None:
    verifier = TokenVerifier(IdentitySettings(jwks=str(issuers["first"].jwks), jwt_issuer="first"))
    with pytest.raises(Unauthenticated):
        await verifier.verify(issuers["outlet-registry"].token(role="service"))


async def test_an_issuer_whose_keys_cannot_be_read_does_not_keep_out_the_others(
    verifier: TokenVerifier, issuers: dict[str, Issuer]
) -> None:
    issuers["second"].jwks.unlink()
    with pytest.raises(Unavailable):
        await verifier.verify(issuers["second"].token())
    assert (await verifier.verify(issuers["first"].token())).subject == "me"


@pytest.mark.parametrize("further", [{"first": "a.json"}, {"outlet-registry": "a.json"}])
def test_an_issuer_cannot_be_named_twice(further: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="twice"):
        IdentitySettings(jwks="b.json", jwt_issuer="first", jwt_further_issuers=further)
