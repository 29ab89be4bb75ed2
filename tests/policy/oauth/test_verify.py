"""What proves something, and what does not: real tokens, real keys."""

import base64
import hmac
import json
import time
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mcproxy.config.auth import JwtConfig
from mcproxy.policy.access import TokenRefused
from mcproxy.policy.oauth.verify import (
    LEEWAY_SECS,
    MAX_KEYS,
    MAX_NAME_CHARS,
    claims_of,
    heading,
    key_for,
    keys_in,
)
from mcproxy.types import Claims, Json, JsonObject
from tests.issuing import AUDIENCE, Signer, claims, signed, signer

ISSUER = "https://issuer.example.org"
RULES = JwtConfig(issuer=ISSUER, audience=(AUDIENCE,))
SIGNERS = {name: signer(name, name) for name in ("RS256", "PS256", "ES256", "ES384", "EdDSA")}
KEY = SIGNERS["ES256"]
NOW = int(time.time())


def jwks(*keys: Json) -> bytes:
    return json.dumps({"keys": keys}).encode()


KEYS = keys_in(jwks(*(each.jwk for each in SIGNERS.values())), RULES)


def verified(token: str, rules: JwtConfig = RULES) -> Claims:
    key = key_for(heading(token, rules), KEYS)
    if key is None:
        raise TokenRefused("no key of the issuer fits it")
    return claims_of(token, key, rules)


def token(by: Signer = KEY, header: JsonObject | None = None, **changed: Json) -> str:
    return signed(by, claims(ISSUER, **changed), **(header or {}))


@pytest.mark.requirement("jwt.verified")
@pytest.mark.parametrize("algorithm", SIGNERS)
def test_a_good_token_of_each_algorithm(algorithm: str) -> None:
    found = verified(token(SIGNERS[algorithm], scope="read write"))
    assert found == Claims("alice", frozenset({"read", "write"}), RULES)


GOOD: dict[str, Callable[[], str]] = {
    "several audiences": lambda: token(aud=["https://other.example.org", AUDIENCE]),
    "expired within the leeway": lambda: token(exp=int(time.time()) - 5),
    "soon valid, within the leeway": lambda: token(nbf=int(time.time()) + LEEWAY_SECS - 10),
    "no key named, and one that fits": lambda: token(header={"kid": None}),
    "a type of its own": lambda: token(header={"typ": "at+jwt"}),
}


@pytest.mark.parametrize("title", GOOD)
def test_good_tokens(title: str) -> None:
    assert verified(GOOD[title]()).name == "alice"


def unsigned(header: JsonObject, body: JsonObject, end: str = "") -> str:
    parts = (json.dumps(part).encode() for part in (header, body))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + end


def with_public_key(kid: str) -> str:
    """A forgery: the public key, which everybody has, as the secret of HS256."""
    public = SIGNERS["RS256"].private.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    start = unsigned({"alg": "HS256", "kid": kid}, claims(ISSUER))
    signature = hmac.digest(pem, start.encode(), "sha256")
    return f"{start}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


IMPOSTOR = signer("ES256")  # the name of the issuer's key, and another key
WRONG: dict[str, tuple[Callable[[], str], str]] = {
    "signed by another": (lambda: token(IMPOSTOR), "its signature is wrong"),
    "no signature": (lambda: token().rpartition(".")[0] + ".", "its signature is wrong"),
    "another body": (
        lambda: (
            f"{unsigned({'alg': 'ES256', 'kid': 'ES256'}, claims(ISSUER, sub='root'))}."
            + token().rpartition(".")[2]
        ),
        "its signature is wrong",
    ),
    "alg none": (lambda: unsigned({"alg": "none"}, claims(ISSUER), "."), "not signed with one of"),
    "alg None": (lambda: unsigned({"alg": None}, claims(ISSUER), "."), "not signed with one of"),
    "alg a list": (lambda: unsigned({"alg": ["ES256"]}, {}, "."), "not signed with one of"),
    "HS256 with the public key": (lambda: with_public_key("RS256"), "not signed with one of"),
    "an algorithm that the rules lack": (
        lambda: token(signer("RS256", "RS512")),
        "not signed with one of RS256, PS256",
    ),
    "an algorithm of another kind of key": (
        lambda: token(KEY, {"kid": "RS256"}),
        "no key of the issuer fits",
    ),
    "a key that is unknown": (lambda: token(KEY, {"kid": "next"}), "no key of the issuer fits"),
    "no key named, and several that fit": (
        lambda: token(SIGNERS["PS256"], {"kid": None}),
        "no key of the issuer fits",
    ),
    "another issuer": (lambda: token(iss=f"{ISSUER}/"), "it is from another issuer"),
    "no issuer": (lambda: token(iss=None), "it lacks the claim 'iss'"),
    "another audience": (lambda: token(aud=f"{AUDIENCE}/mcp"), "meant for another audience"),
    "no audience": (lambda: token(aud=None), "it lacks the claim 'aud'"),
    "an empty audience": (lambda: token(aud=[]), "it lacks the claim 'aud'"),
    "expired": (lambda: token(exp=NOW - LEEWAY_SECS - 5), "it has expired"),
    "never to expire": (lambda: token(exp=None), "it lacks the claim 'exp'"),
    "an odd expiry": (lambda: token(exp="soon"), "can be read"),
    "not yet valid": (lambda: token(nbf=NOW + 3600), "it is not valid yet"),
    "no name": (lambda: token(sub=None), "its claim 'sub' does not name a caller"),
    "an empty name": (lambda: token(sub=""), "does not name a caller"),
    "a name of two lines": (lambda: token(sub="a\nb"), "does not name a caller"),
    "a name without end": (lambda: token(sub="a" * (MAX_NAME_CHARS + 1)), "does not name"),
    "huge": (lambda: token(more="x" * 20_000), "it has over 16384 characters"),
    "critical members": (lambda: token(header={"crit": ["x"], "x": 1}), "can be read"),
    "no JWT": (lambda: "t0k3n", "neither a known token nor a JWT"),
    "empty": (lambda: "", "neither a known token nor a JWT"),
    "dots": (lambda: "..", "neither a known token nor a JWT"),
    "five parts": (lambda: "a.b.c.d.e", "neither a known token nor a JWT"),
    "not ASCII": (lambda: "é.é.é", "neither a known token nor a JWT"),
    "a surrogate": (lambda: "\udcff.a.b", "neither a known token nor a JWT"),
    "deep": (lambda: "W1tb" * 3000 + ".e30.", "can be read"),  # [[[ and so on
}


@pytest.mark.requirement("jwt.refused")
@pytest.mark.parametrize("title", WRONG)
def test_wrong_tokens(title: str) -> None:
    make, words = WRONG[title]
    with pytest.raises(TokenRefused) as refused:
        verified(make())
    assert words in str(refused.value)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"))
def test_whatever_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        verified(text)


NAMES: dict[str, tuple[JsonObject, frozenset[str]]] = {
    "none": ({}, frozenset()),
    "spaces": ({"scope": " a  b "}, frozenset({"a", "b"})),
    "a list": ({"scope": ["a", 5, "b c"]}, frozenset({"a", "b c"})),
    "scp": ({"scp": ["a"]}, frozenset({"a"})),
    "scope counts": ({"scope": "a", "scp": ["b"]}, frozenset({"a"})),
    "odd": ({"scope": {"a": True}}, frozenset()),
}


@pytest.mark.parametrize("title", NAMES)
def test_scopes(title: str) -> None:
    changed, scopes = NAMES[title]
    assert verified(signed(KEY, claims(ISSUER, **changed))).scopes == scopes


def test_another_claim_may_name_the_caller() -> None:
    rules = RULES.model_copy(update={"name_claim": "email"})
    assert verified(token(email="a@example.org"), rules).name == "a@example.org"


UNUSABLE: dict[str, Json] = {
    "a secret": {"kty": "oct", "k": "c2VjcmV0", "kid": "x"},
    "a secret with a curve": {"kty": "oct", "crv": "P-256", "k": "c2VjcmV0"},
    "a private key": {**KEY.jwk, "d": "x"},
    "for encryption": {**KEY.jwk, "use": "enc"},
    "for signing only": {**KEY.jwk, "key_ops": ["sign"]},
    "for an algorithm that the rules lack": {**SIGNERS["RS256"].jwk, "alg": "RS512"},
    "for an algorithm of another kind": {**KEY.jwk, "alg": "RS256"},
    "a curve that nobody knows": {**KEY.jwk, "crv": "P-1"},
    "a curve that is none": {**KEY.jwk, "crv": ["P-256"]},
    "half of it": {**KEY.jwk, "y": None},
    "a number": 5,
}


@pytest.mark.parametrize("title", UNUSABLE)
def test_keys_that_are_left_out(title: str) -> None:
    keys = keys_in(jwks(UNUSABLE[title], SIGNERS["EdDSA"].jwk), RULES)
    assert [key.algorithm_name for key in keys] == ["EdDSA"]


@pytest.mark.parametrize("document", [b"[]", b"{}", b'{"keys": 5}', b'{"keys": []}', b"5"])
def test_what_is_no_set_has_no_keys(document: bytes) -> None:
    assert keys_in(document, RULES) == ()


def test_a_set_without_end_is_cut() -> None:
    assert len(keys_in(jwks(*[KEY.jwk] * (MAX_KEYS + 5)), RULES)) == MAX_KEYS


def test_a_weak_key_proves_nothing() -> None:
    weak = signer("weak", "RS256", bits=1024)
    [key] = keys_in(jwks({**weak.jwk, "alg": "RS256"}), RULES)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        forged = token(weak)
    with pytest.raises(TokenRefused, match="too weak"):
        claims_of(forged, key, RULES)
