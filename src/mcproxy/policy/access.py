"""Who a caller is, and which endpoints it may use. Pure: a policy, a caller and a name give a
namespace or a refusal.

Tokens of the configuration are known by their SHA-256 only: no secret is kept here. Of an issuer's
token the claims are taken as verified.

A guarded namespace and one that does not exist are refused in the same words, and names that the
caller may not use appear in no hint: a refusal must not tell what there is.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import ClassVar, Literal

import msgspec

from mcproxy.config.auth import JwtConfig
from mcproxy.config.model import ANONYMOUS, ANY, Config, Surface
from mcproxy.errors import McproxyError
from mcproxy.policy.groups import resolve_groups
from mcproxy.policy.namespaces import Namespace, resolve
from mcproxy.policy.origins import origin_allowed
from mcproxy.types import Caller, Claims, Discreet

ISSUED = "jwt:"  # before a name that an issuer gave; names of ``auth.tokens`` have no colon
MAX_NAMES_SHOWN = 20


class Token(Discreet, frozen=True):
    """A token of ``auth.tokens``: who holds it, and the namespaces that it opens."""

    name: str
    namespaces: frozenset[str]
    digest: bytes
    hidden: ClassVar = frozenset({"digest"})


class TokenRefused(McproxyError):
    """A token proves nothing; the text says why, in words that follow "this token is not valid"."""


class Identity(msgspec.Struct, frozen=True):
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


class Identities(msgspec.Struct, frozen=True):
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


class SurfaceRules(msgspec.Struct, frozen=True):
    """What decides which tools a client sees: by its name, and by what the tools cost; and what
    stands before the names of the gateway's own."""

    hosts: Mapping[str, Surface] = msgspec.field(default_factory=dict)
    direct_tokens: int = 0
    prefix: str = ""


class Policy(msgspec.Struct, frozen=True):
    """One configuration's rules: endpoints (namespaces and groups) by name, and who callers are.

    ``bare`` are the servers whose tools keep their own names in direct mode; ``allowed_hosts`` are
    the names under which clients reach the gateway, beside its own. ``surfaces``: what clients see.
    ``per_client``: the servers that each client has a process of its own of.
    """

    endpoints: Mapping[str, Namespace]
    identities: Identities
    default: str
    bare: frozenset[str] = frozenset()
    allowed_hosts: frozenset[str] = frozenset()
    surfaces: SurfaceRules = SurfaceRules()
    per_client: frozenset[str] = frozenset()

    @property
    def has_auth(self) -> bool:
        """Is there anything that a token could open?"""
        guarded = any(endpoint.require_auth for endpoint in self.endpoints.values())
        return bool(self.identities) or guarded


class Admitted(msgspec.Struct, frozen=True):
    """The verdict that ``caller`` may use ``namespace``, and its ``name``. Holds for the policy and
    for what was asked, no more; ``asked`` None is the default namespace."""

    policy: Policy
    caller: Caller
    asked: str | None
    name: str
    namespace: Namespace


class AccessDenied(McproxyError):
    """The caller may not use the endpoint. The text says what to do.

    ``status`` is the HTTP answer where the name stood in the path: 401 with ``challenge`` as
    ``WWW-Authenticate``, 403 for an origin, or 404. Elsewhere it becomes JSON-RPC error -32602, or
    an ``isError`` result; a wrong token is 401 everywhere.
    """

    def __init__(self, status: Literal[401, 403, 404], message: str, challenge: str = "") -> None:
        self.status, self.challenge = status, challenge
        super().__init__(message)

    @property
    def wrong_token(self) -> bool:
        """Is it the token itself that is refused, whatever was asked with it?"""
        return "invalid_token" in self.challenge


def policy_of(config: Config) -> Policy:
    """Resolve a checked configuration."""
    namespaces = resolve(config)
    groups = resolve_groups(config, namespaces)
    default = config.sandbox.default_namespace
    bare = frozenset(name for name, server in config.servers.items() if not server.prefix)
    hosts = frozenset(config.allowed_hosts)
    surfaces = SurfaceRules(config.hosts, config.direct_tokens, config.meta_tools.prefix)
    endpoints, known = {**namespaces, **groups}, identities(config)
    servers = config.servers.items()
    per_client = frozenset(name for name, server in servers if server.affinity == "client")
    return Policy(endpoints, known, default, bare, hosts, surfaces, per_client)


def admit(policy: Policy, caller: Caller, asked: str | None = None) -> Admitted:
    """The namespace or group that the caller asks for; None is the default namespace.

    Raises AccessDenied.
    """
    who = _known(policy, caller)
    wanted = asked or policy.default
    endpoint = policy.endpoints.get(wanted)
    if endpoint is None or not _opened(endpoint, who):
        raise _hidden(policy, caller, who, wanted)
    if not _accepts(endpoint, caller):
        raise AccessDenied(403, _foreign_origin(wanted, caller))
    return Admitted(policy, caller, asked, who.name, endpoint)


def identify(policy: Policy, caller: Caller) -> str:
    """The caller's name for logs and rate limits. Raises AccessDenied for a wrong token."""
    return _known(policy, caller).name


def usable(policy: Policy, caller: Caller) -> tuple[Namespace, ...]:
    """The endpoints that ``admit`` would let this caller use. Raises AccessDenied as it does."""
    return _usable(policy, caller, _known(policy, caller))


def operates(policy: Policy, caller: Caller) -> bool:
    """May the caller decide what other callers' calls wait for? Its token opens every namespace, as
    ``*``: that one opens all there are is no matter, an agent's own may. Raises AccessDenied."""
    return ANY in _known(policy, caller).namespaces


def shares(policy: Policy, caller: Caller, name: str | None = None) -> bool:
    """May a page of the caller's origin read what an endpoint answers (Fetch, "CORS protocol")?

    An endpoint that is hidden from the caller, existing or not, shares what any other shares: that
    tells nothing about it.
    """
    who = policy.identities.of(caller) or Identity(ANONYMOUS)
    endpoint = policy.endpoints.get(name or policy.default)
    if endpoint is None or not _opened(endpoint, who):
        return any(_accepts(each, caller) for each in policy.endpoints.values())
    return _accepts(endpoint, caller)


def _accepts(endpoint: Namespace, caller: Caller) -> bool:
    return all(origin_allowed(part.allowed_origins, caller) for part in endpoint.members)


def _known(policy: Policy, caller: Caller) -> Identity:
    who = policy.identities.of(caller)
    if who is None:
        why = f": {caller.fault}" if caller.fault else ""
        issued = ", or of the issuer in auth.jwt," if policy.identities.jwt else ""
        raise AccessDenied(
            401,
            f"This token is not valid{why}. Send a token of auth.tokens{issued} as "
            "'Authorization: Bearer TOKEN', or none at all.",
            'Bearer realm="mcproxy", error="invalid_token"',
        )
    return who


def _opened(endpoint: Namespace, who: Identity) -> bool:
    return all(not member.require_auth or who.opens(member.name) for member in endpoint.members)


def _usable(policy: Policy, caller: Caller, who: Identity) -> tuple[Namespace, ...]:
    return tuple(
        endpoint
        for endpoint in policy.endpoints.values()
        if _opened(endpoint, who) and _accepts(endpoint, caller)
    )


def _hidden(policy: Policy, caller: Caller, who: Identity, wanted: str) -> AccessDenied:
    names = [endpoint.name for endpoint in _usable(policy, caller, who)]
    more = len(names) - MAX_NAMES_SHOWN
    shown = ", ".join(names[:MAX_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    open_to_you = f"Namespaces open to you: {shown or 'none'}."
    if who.is_anonymous and policy.has_auth:
        return AccessDenied(
            401,
            f"Namespace {wanted!r} does not exist or needs a token: send "
            f"'Authorization: Bearer TOKEN'. {open_to_you}",
            'Bearer realm="mcproxy"',
        )
    return AccessDenied(404, f"There is no namespace {wanted!r} for you. {open_to_you}")


def _foreign_origin(wanted: str, caller: Caller) -> str:
    sender = f"origin {caller.origin!r}" if caller.origin else "a request without an origin"
    return (
        f"Namespace {wanted!r} does not accept {sender}; "
        "add it to the namespace's allowed_origins if it is yours."
    )
