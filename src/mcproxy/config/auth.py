"""The shape of the section ``auth``: how callers show who they are, and what that opens.

Whether names exist and tokens differ is for ``checks``; what a caller may do for ``policy``.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field

from mcproxy.config.fields import Name, Section, Text, refusal

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def _digest(text: str) -> str:
    """Return the digest in lower case."""
    if not _SHA256.fullmatch(text):
        raise refusal(
            "is not a SHA-256 in hexadecimal", "64 digits, as printf %s TOKEN | sha256sum prints"
        )
    return text.lower()


def _asymmetric(name: object) -> object:
    """Refuse what whoever verifies a token, or anybody at all, could sign it with."""
    if isinstance(name, str) and (name.upper().startswith("HS") or name.lower() == "none"):
        raise refusal(
            f"{name!r} proves nothing here: only the issuer must be able to sign",
            "name asymmetric ones, for example RS256, ES256 or EdDSA",
        )
    return name


def _one_or_more(value: object) -> object:
    """One text may stand for a list of one."""
    return (value,) if isinstance(value, str) else value


Sha256 = Annotated[str, AfterValidator(_digest)]
# RFC 7518, section 3.1, and RFC 8037; without the symmetric ones.
Algorithm = Annotated[
    Literal[
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
    ],
    BeforeValidator(_asymmetric),
]
Audiences = Annotated[
    tuple[Text, ...],
    BeforeValidator(_one_or_more, json_schema_input_type=Text | list[Text]),
]


class TokenConfig(Section):
    """A bearer token and the namespaces that it opens; the token itself or its hash."""

    name: Name = Field(description="Who holds the token; used in logs and for rate limits.")
    token: Text | None = Field(
        default=None, description="The secret, usually '${VARIABLE}'.", repr=False
    )
    sha256: Sha256 | None = Field(
        default=None,
        description="Instead of 'token': its SHA-256, 64 hexadecimal digits.",
        repr=False,
    )
    namespaces: tuple[str, ...] = Field(
        default=(), description="Guarded namespaces that the token opens; '*' for all."
    )

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the token, by which it is recognised."""
        if self.sha256 is not None:
            return bytes.fromhex(self.sha256)
        return hashlib.sha256((self.token or "").encode("utf-8", "surrogatepass")).digest()


class JwtConfig(Section):
    """Access tokens of an OAuth 2.1 issuer, for which the gateway is a resource server."""

    issuer: Text = Field(description="URL of the issuer, exactly as it stands in 'iss'.")
    audience: Audiences = Field(
        description="What stands in 'aud' of a token that is meant for this gateway; or a list."
    )
    jwks_url: Text | None = Field(
        default=None,
        description="URL of the issuer's keys; null: found from the issuer's metadata.",
        repr=False,
    )
    algorithms: tuple[Algorithm, ...] = Field(
        default=("RS256", "PS256", "ES256", "ES384", "EdDSA"),
        description="Signatures that are taken; asymmetric ones only.",
    )
    scopes: Mapping[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Guarded namespaces that each scope opens; '*' for all.",
    )
    namespaces: tuple[str, ...] = Field(
        default=(), description="Guarded namespaces that every valid token opens; '*' for all."
    )
    name_claim: Text = Field(
        default="sub", description="The claim that names the caller, in logs and for rate limits."
    )
    resource: Text | None = Field(
        default=None,
        description="URL under which clients reach the gateway; null: as their Host header says.",
    )


class Auth(Section):
    """Who may use the namespaces that require authentication."""

    tokens: tuple[TokenConfig, ...] = ()
    jwt: JwtConfig | None = None


class Opener(msgspec.Struct, frozen=True):
    """Something that opens guarded namespaces, in words, and which."""

    about: str
    namespaces: tuple[str, ...]


def openers(auth: Auth) -> Iterator[Opener]:
    """Everything in the section that opens guarded namespaces."""
    for token in auth.tokens:
        yield Opener(f"token {token.name}", token.namespaces)
    if auth.jwt:
        yield Opener("every valid JWT", auth.jwt.namespaces)
        for scope, namespaces in auth.jwt.scopes.items():
            yield Opener(f"scope {scope}", namespaces)
