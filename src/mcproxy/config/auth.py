"""The shape of the section ``auth``: how callers show who they are, and what that opens.

Whether names exist and tokens differ is for ``auth_checks``; what a caller may do for ``policy``.
"""

import hashlib
import re
from typing import Annotated

from pydantic import AfterValidator, Field

from mcproxy.config.fields import Name, Section, Text, refusal

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def _digest(text: str) -> str:
    """Return the digest in lower case."""
    if not _SHA256.fullmatch(text):
        raise refusal(
            "is not a SHA-256 in hexadecimal", "64 digits, as printf %s TOKEN | sha256sum prints"
        )
    return text.lower()


Sha256 = Annotated[str, AfterValidator(_digest)]


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


class Auth(Section):
    """Who may use the namespaces that require authentication."""

    tokens: tuple[TokenConfig, ...] = ()
