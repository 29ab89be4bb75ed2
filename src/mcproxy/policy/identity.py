"""Who a caller is, and which guarded namespaces that opens. Pure.

Tokens of the configuration are known by their SHA-256 only: no secret is kept here. Of an issuer's
token the claims are taken as verified. Whether an endpoint may be used is for ``access``.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from mcproxy.config.auth import JwtConfig
from mcproxy.config.model import ANONYMOUS, ANY, Config
from mcproxy.errors import McproxyError
from mcproxy.types import Caller, Claims

ISSUED = "jwt:"  # before a name that an issuer gave; names of ``auth.tokens`` have no colon


@dataclass(frozen=True, slots=True)
class Token:
    """A token of ``auth.tokens``: who holds it, and the namespaces that it opens."""

    name: str
    namespaces: frozenset[str]
    digest: bytes = field(repr=False)


class TokenRefused(McproxyError):
    """A token proves nothing; the text says why, in words that follow "this token is not valid"."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller's name for logs and rate limits, and the guarded namespaces that it may use."""

    name: str
    namespaces: frozenset[str] = frozenset()

    @property
    def is_anonymous(self) -> bool:
        """Did the caller show no token?"""
        return self.name == ANONYMOUS

    def opens(self, namespace: str) -> bool:
        """May this caller use the guarded namespace?"""
        return ANY in self.namespaces or namespace in self.namespaces


_NOBODY = Identity(ANONYMOUS)


@dataclass(frozen=True, slots=True)
class Identities:
    """What callers can show themselves by."""

    tokens: tuple[Token, ...] = ()
    jwt: JwtConfig | None = None

    def __bool__(self) -> bool:
        return bool(self.tokens or self.jwt)

    def of(self, caller: Caller) -> Identity | None:
        """Who the caller is; None for a token that is wrong."""
        if caller.token is None:
            return _NOBODY
        token = self._token(caller.token)
        if token:
            return Identity(token.name, token.namespaces)
        return _issued(self.jwt, caller.claims) if self.jwt and caller.claims else None

    def need_claims(self, caller: Caller) -> bool:
        """Can only the issuer's keys tell what the caller's token is worth?"""
        return bool(self.jwt) and caller.token is not None and not self._token(caller.token)

    def _token(self, presented: str) -> Token | None:
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        # All are compared, so that the time taken tells nothing about which one came close.
        found = [token for token in self.tokens if hmac.compare_digest(token.digest, digest)]
        return found[0] if found else None


def identities(config: Config) -> Identities:
    """What the configuration says of callers."""
    tokens = tuple(
        Token(token.name, frozenset(token.namespaces), token.digest) for token in config.auth.tokens
    )
    return Identities(tokens, config.auth.jwt)


def _issued(rules: JwtConfig, claims: Claims) -> Identity | None:
    """Who an issuer's token stands for, if it was verified under the rules in force."""
    if claims.rules != rules:
        return None
    opened = {name for scope in claims.scopes for name in rules.scopes.get(scope, ())}
    return Identity(ISSUED + claims.name, frozenset({*opened, *rules.namespaces}))
