"""What an issuer's keys prove of a token. Pure, but for the time of day.

The rules name the algorithms; a key's type says with which of them it may be used, so that no token
can choose how it is verified (RFC 8725, sections 3.1 and 3.2). A refusal never repeats a part of
the token. Needs PyJWT with ``cryptography``; importing this file raises ImportError without.
"""

import json
from collections.abc import Iterator, Sequence

import jwt
import msgspec
from jwt.algorithms import has_crypto

from mcproxy.config.auth import JwtConfig
from mcproxy.policy.access import TokenRefused
from mcproxy.types import Claims, Json, JsonObject

MAX_TOKEN_CHARS = 16 << 10  # a token with hundreds of groups has some 8 KiB
MAX_KEYS = 100  # of one issuer; most have two
MAX_NAME_CHARS = 255  # OpenID Connect Core, section 2: of `sub`
LEEWAY_SECS = 30.0  # between the issuer's clock and ours

# RFC 7518, section 3.1, and RFC 8037, section 3.1: what a key can sign by its curve, or type.
_ALGORITHMS = {
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "P-256": ("ES256",),
    "P-384": ("ES384",),
    "P-521": ("ES512",),
    "Ed25519": ("EdDSA",),
}
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "it has expired"),
    (jwt.ImmatureSignatureError, "it is not valid yet"),
    (jwt.InvalidIssuerError, "it is from another issuer"),
    (jwt.InvalidAudienceError, "it is meant for another audience"),
    (jwt.InvalidSignatureError, "its signature is wrong"),
    (jwt.InvalidKeyError, "the issuer's key for it is too weak"),
)
_UNREADABLE = "it is neither a known token nor a JWT that can be read"

if not has_crypto:
    raise ImportError("PyJWT is installed without cryptography")


class Heading(msgspec.Struct, frozen=True):
    """What a token says of its signature; not verified."""

    algorithm: str
    key_id: str | None


def keys_in(document: bytes, rules: JwtConfig) -> tuple[jwt.PyJWK, ...]:
    """The public keys of a JWK set (RFC 7517), one for each algorithm of the rules that fits.

    Keys that cannot be used are left out. Raises ValueError for what is no JSON.
    """
    found: Json = json.loads(document)
    listed = found.get("keys") if isinstance(found, dict) else None
    first = listed[:MAX_KEYS] if isinstance(listed, list) else []
    objects = [each for each in first if isinstance(each, dict)]
    return tuple(key for each in objects for key in _keys(each, rules.algorithms))


def heading(token: str, rules: JwtConfig) -> Heading:
    """Read with what the token says it was signed. Raises TokenRefused."""
    if len(token) > MAX_TOKEN_CHARS:
        raise TokenRefused(f"it has over {MAX_TOKEN_CHARS} characters")
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused(_UNREADABLE) from error
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in rules.algorithms:
        raise TokenRefused(f"it is not signed with one of {', '.join(rules.algorithms)}")
    return Heading(algorithm, key_id)


def key_for(asked: Heading, keys: Sequence[jwt.PyJWK]) -> jwt.PyJWK | None:
    """The key that is named; where none is, the only one that fits."""
    fitting = [key for key in keys if key.algorithm_name == asked.algorithm]
    if asked.key_id is None:
        return fitting[0] if len(fitting) == 1 else None
    return next((key for key in fitting if key.key_id == asked.key_id), None)


def claims_of(token: str, key: jwt.PyJWK, rules: JwtConfig) -> Claims:
    """What the token says, if it is the issuer's, for this gateway and for now.

    Raises TokenRefused.
    """
    try:
        claims: JsonObject = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=LEEWAY_SECS,
            options={"require": ["exp", "iss", "aud"], "enforce_minimum_key_length": True},
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise TokenRefused(_reason(error)) from error
    return Claims(_name(claims, rules.name_claim), _scopes(claims), rules)


def _keys(jwk: JsonObject, allowed: Sequence[str]) -> Iterator[jwt.PyJWK]:
    private = "d" in jwk  # whoever publishes that has no secret left
    if private or jwk.get("use", "sig") != "sig" or not _verifies(jwk.get("key_ops")):
        return
    for algorithm in _ALGORITHMS.get(str(jwk.get("crv", jwk.get("kty"))), ()):
        if algorithm in allowed and jwk.get("alg", algorithm) == algorithm:
            try:
                yield jwt.PyJWK(jwk, algorithm)
            except (jwt.PyJWTError, ValueError, TypeError):
                return


def _verifies(operations: Json) -> bool:
    return operations is None or (isinstance(operations, list) and "verify" in operations)


def _reason(error: Exception) -> str:
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it lacks the claim {error.claim!r}"
    return next((text for kind, text in _REASONS if isinstance(error, kind)), _UNREADABLE)


def _name(claims: JsonObject, claim: str) -> str:
    """The caller's name; it goes into logs, so that it must be one line of bounded length."""
    name = claims.get(claim)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS or not name.isprintable():
        raise TokenRefused(f"its claim {claim!r} does not name a caller")
    return name


def _scopes(claims: JsonObject) -> frozenset[str]:
    """RFC 9068, section 2.2.3: ``scope``, with spaces between; some issuers have a list ``scp``."""
    told = claims.get("scope", claims.get("scp"))
    listed = told.split() if isinstance(told, str) else told
    if not isinstance(listed, list):
        return frozenset()
    return frozenset(each for each in listed if isinstance(each, str))
