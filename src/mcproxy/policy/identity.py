"""Who a caller is, and which guarded namespaces that opens. Pure.

Tokens of the configuration are known by their SHA-256 only: no secret is kept here. Whether an
endpoint may be used is for ``access``.
"""

import hashlib
import hmac
from dataclasses import dataclass, field

from mcproxy.config.model import ANONYMOUS, ANY, Config
from mcproxy.types import Caller


@dataclass(frozen=True, slots=True)
class Token:
    """A token of ``auth.tokens``: who holds it, and the namespaces that it opens."""

    name: str
    namespaces: frozenset[str]
    digest: bytes = field(repr=False)


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


@dataclass(frozen=True, slots=True)
class Identities:
    """What callers can show themselves by."""

    tokens: tuple[Token, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tokens)

    def of(self, caller: Caller) -> Identity | None:
        """Who the caller is; None for a token that is wrong."""
        if caller.token is None:
            return Identity(ANONYMOUS)
        token = self._token(caller.token)
        return Identity(token.name, token.namespaces) if token else None

    def _token(self, presented: str) -> Token | None:
        digest = hashlib.sha256(presented.encode("utf-8", "surrogatepass")).digest()
        # All are compared, so that the time taken tells nothing about which one came close.
        found = [token for token in self.tokens if hmac.compare_digest(token.digest, digest)]
        return found[0] if found else None


def identities(config: Config) -> Identities:
    """What the configuration says of callers."""
    return Identities(
        tuple(
            Token(token.name, frozenset(token.namespaces), token.digest)
            for token in config.auth.tokens
        )
    )
