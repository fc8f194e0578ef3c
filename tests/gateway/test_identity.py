"""Whose requests pass the door: RFC 7519, and the confusions of RFC 8725."""

import base64
import json
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from joserfc import jws, jwt
from joserfc.jwk import OctKey, OKPKey

from outlet.local.issuer import NAME, Issuer

DOORS = [
    ("GET", "/api/plugins"),
    ("POST", "/api/events"),
    ("GET", "/api/plugins/ui-components/POS.AfterCheckout"),
    ("GET", "/api/plugins/loyalty-points/api/points/c-1"),
]


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    usual = {"iss": NAME, "aud": "outlet", "sub": "me", "iat": now, "exp": now + 60, "org": "acme", "role": "owner"}
    return {name: value for name, value in (usual | changes).items() if value is not None}


@pytest.fixture(scope="session")
def key(issuer: Issuer) -> OKPKey:
    """The issuer's private key, to sign what it would not."""
    return OKPKey.import_key(json.loads((issuer.jwks_path.parent / "private.json").read_text()))


def signed(key: OKPKey, **changes: Any) -> str:
    return jwt.encode({"alg": "Ed25519", "kid": key.kid}, claims(**changes), key, algorithms=["Ed25519"])


async def ask(client: httpx.AsyncClient, token: str, method: str = "GET", path: str = "/api/plugins") -> httpx.Response:
    return await client.request(method, path, headers={"Authorization": f"Bearer {token}"})


def assert_refused(response: httpx.Response) -> None:
    assert response.status_code == 401, response.text
    assert response.json()["code"] == "unauthenticated"
    assert response.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_every_door_asks_for_a_token(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), DOORS)
async def test_every_door_refuses_a_foreign_signature(client: httpx.AsyncClient, method: str, path: str) -> None:
    stranger = OKPKey.generate_key("Ed25519", {"alg": "Ed25519"}, auto_kid=True)
    assert_refused(await ask(client, signed(stranger), method, path))


async def test_foreign_signature_under_the_known_key_id_is_refused(client: httpx.AsyncClient, key: OKPKey) -> None:
    stranger = OKPKey.generate_key("Ed25519", {"kid": str(key.kid)})
    assert_refused(await ask(client, signed(stranger)))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"aud": None},
        {"iss": "another"},
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"nbf": int(time.time()) + 3600},
        {"sub": None},
        {"org": None},
        {"org": ""},
        {"org": 5},
        {"store": ""},
        {"role": None},
        {"role": "root"},
    ],
)
async def test_token_with_a_wrong_claim_is_refused(
    client: httpx.AsyncClient, key: OKPKey, changes: dict[str, Any]
) -> None:
    assert_refused(await ask(client, signed(key, **changes)))


async def test_expired_token_is_refused(client: httpx.AsyncClient, issuer: Issuer) -> None:
    assert_refused(await ask(client, issuer.token("owner", "acme", lifetime=timedelta(hours=-1))))


async def test_unsigned_token_is_refused(client: httpx.AsyncClient) -> None:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    for algorithm in ("none", "None", "NONE"):
        assert_refused(await ask(client, f"{part({'alg': algorithm})}.{part(claims())}."))


async def test_public_key_is_not_taken_for_a_shared_secret(client: httpx.AsyncClient, key: OKPKey) -> None:
    public = key.as_dict(private=False)
    for secret in (json.dumps(public), str(public["x"]), base64.urlsafe_b64decode(f"{public['x']}==")):
        confused = OctKey.import_key(secret)
        header = {"alg": "HS256", "kid": public["kid"]}
        token = jws.serialize_compact(header, json.dumps(claims()), confused, algorithms=["HS256"])
        assert_refused(await ask(client, token))


@pytest.mark.parametrize("token", ["garbage", "a.b.c", "..", "\x7f", "a" * 10_000])
async def test_garbage_is_refused(client: httpx.AsyncClient, token: str) -> None:
    assert_refused(await ask(client, token))


async def test_other_schemes_are_no_token(client: httpx.AsyncClient, issuer: Issuer) -> None:
    token = issuer.token("owner", "acme")
    for header in (f"Basic {token}", token, "Bearer"):
        response = await client.get("/api/plugins", headers={"Authorization": header})
        assert response.status_code == 401


async def test_signed_token_passes(client: httpx.AsyncClient, key: OKPKey) -> None:
    assert (await ask(client, signed(key))).status_code == 200
