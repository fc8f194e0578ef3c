"""Whose signature is believed, and about what. Each forgery is one that would let foreign code in."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from outlet.signing import TYPE, PublicKey, SignatureError, Statement, new_key, public_part, sign, verify

STATEMENT = Statement(plugin_id="loyalty-points", version="1.2.0", digest=f"sha256:{'a' * 64}")


@pytest.fixture(scope="module")
def key() -> OKPKey:
    return new_key()


def part(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def payload(**changes: str) -> dict[str, str]:
    return {"pluginId": STATEMENT.plugin_id, "version": STATEMENT.version, "digest": STATEMENT.digest, **changes}


def header(key: OKPKey, **changes: Any) -> dict[str, Any]:
    return {"alg": "Ed25519", "kid": public_part(key).id, "typ": TYPE, **changes}


def resigned(key: OKPKey, head: dict[str, Any], body: bytes) -> str:
    """What a holder of the key can sign, whatever the header says."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    raw = base64.urlsafe_b64decode(str(key.as_dict(private=True)["d"]) + "=")
    signed = f"{part(head)}.{base64.urlsafe_b64encode(body).decode().rstrip('=')}"
    signature = Ed25519PrivateKey.from_private_bytes(raw).sign(signed.encode())
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_what_a_key_signed_is_believed_of_this_key_alone(key: OKPKey) -> None:
    signature = sign(STATEMENT, key)
    verify(signature, public_part(key), STATEMENT)
    with pytest.raises(SignatureError, match="names another key"):
        verify(signature, public_part(new_key()), STATEMENT)


def test_the_key_id_is_the_thumbprint_of_rfc_8037() -> None:
    known = PublicKey.read({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    assert known.id == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # RFC 8037, appendix A.3


@pytest.mark.parametrize(
    "other",
    [{"version": "1.3.0"}, {"version": "1.1.0"}, {"plugin_id": "loyalty"}, {"digest": f"sha256:{'b' * 64}"}],
)
def test_a_statement_about_something_else_is_not_believed(key: OKPKey, other: dict[str, str]) -> None:
    members = {name: getattr(STATEMENT, name) for name in ("plugin_id", "version", "digest")}
    with pytest.raises(SignatureError, match="about another package"):
        verify(sign(Statement(**(members | other)), key), public_part(key), STATEMENT)


def test_no_algorithm_is_no_signature(key: OKPKey) -> None:
    for algorithm in ("none", "None", ""):
        forged = f"{part(header(key, alg=algorithm))}.{part(payload())}."
        with pytest.raises(SignatureError, match="only Ed25519"):
            verify(forged, public_part(key), STATEMENT)


def test_the_public_key_is_no_secret_to_authenticate_with(key: OKPKey) -> None:
    public = public_part(key)
    secret = OctKey.import_key({"kty": "oct", "k": public.x})
    with_header = jws.serialize_compact(header(key, alg="HS256"), json.dumps(payload()), secret, algorithms=["HS256"])
    signed = f"{part(header(key))}.{part(payload())}"
    raw = base64.urlsafe_b64decode(public.x + "=")
    digest = base64.urlsafe_b64encode(hmac.digest(raw, signed.encode(), hashlib.sha256)).decode().rstrip("=")
    for forged in (with_header, f"{signed}.{digest}"):
        with pytest.raises(SignatureError):
            verify(forged, public, STATEMENT)


def test_another_key_under_this_ones_name_is_not_believed(key: OKPKey) -> None:
    forged = resigned(new_key(), header(key), json.dumps(payload()).encode())
    with pytest.raises(SignatureError, match="not by the key that it names"):
        verify(forged, public_part(key), STATEMENT)


def test_a_key_in_the_header_is_not_the_one_to_verify_with(key: OKPKey) -> None:
    thief = new_key()
    head = header(key, jwk=public_part(thief).document())
    with pytest.raises(SignatureError, match="alg, kid and typ"):
        verify(resigned(thief, head, json.dumps(payload()).encode()), public_part(key), STATEMENT)


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"typ": "JWT"}, json.dumps(payload())),
        ({"crit": ["b64"], "b64": False}, json.dumps(payload())),
        ({}, json.dumps(payload(extra="1"))),
        ({}, json.dumps(payload())[:-1] + ', "version": "9.9.9"}'),
        ({}, "[]"),
        ({}, "not json"),
    ],
)
def test_what_is_no_statement_of_ours_is_refused_although_the_key_signed_it(
    key: OKPKey, changes: dict[str, Any], body: str
) -> None:
    with pytest.raises(SignatureError):
        verify(resigned(key, header(key, **changes), body.encode()), public_part(key), STATEMENT)


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c.d", "..", "\xe9.b.c", "x" * 5_000, "W10.e30.AA"])
def test_rubbish_is_refused(key: OKPKey, text: str) -> None:
    with pytest.raises(SignatureError):
        verify(text, public_part(key), STATEMENT)


def test_only_a_public_ed25519_key_is_a_key() -> None:
    private = new_key().as_dict(private=True)
    with pytest.raises(SignatureError, match="private key"):
        PublicKey.read(private)
    for document in (
        {},
        {"kty": "RSA"},
        {**private, "d": None, "x": "short"},
        {"kty": "OKP", "crv": "X25519", "x": "A"},
    ):
        with pytest.raises(SignatureError):
            PublicKey.read({name: value for name, value in document.items() if value is not None})
