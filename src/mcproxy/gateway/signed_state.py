"""Opaque texts that clients carry for us and bring back unchanged.

Owns their integrity: a text that was altered, is too old, or was made for somebody or something
else does not open. The key is what gateways share, or lives as long as the process.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable

import msgspec

_MAC_BYTES = 32


class _Content(msgspec.Struct, array_like=True):
    until: float
    kind: str
    text: str


_decoder = msgspec.json.Decoder(_Content)
_encode = msgspec.json.Encoder().encode


class Signing(msgspec.Struct, frozen=True):
    """What the gateways that share their state sign with, and which of them this one is; None and
    empty for one by itself."""

    secret: Callable[[], bytes] | None = None
    here: str = ""


ALONE = Signing()


class SignedState:
    """Seals texts for some time; ``clock`` gives seconds, of the same time wherever ``secret`` is
    known."""

    def __init__(
        self,
        lifetime_secs: float,
        clock: Callable[[], float] = time.time,
        secret: Callable[[], bytes] | None = None,
    ) -> None:
        self._lifetime_secs = lifetime_secs
        self._clock = clock
        own = secrets.token_bytes(32)
        self._secret = secret or (lambda: own)

    def close(self, purpose: str, kind: str, text: str) -> str:
        """Seal a text; it opens for the same purpose only (who asks, for what)."""
        content = _encode(_Content(self._clock() + self._lifetime_secs, kind, text))
        return base64.urlsafe_b64encode(self._mac(purpose, content) + content).decode()

    def open(self, purpose: str, sealed: str) -> tuple[str, str] | None:
        """The kind and the text; None for what was not sealed here for this purpose, or is old."""
        try:
            data = base64.b64decode(sealed.encode(), b"-_", validate=True)
        except (ValueError, binascii.Error):
            return None
        if base64.urlsafe_b64encode(data).decode() != sealed:
            return None  # another spelling of the same bytes: spare bits at the end
        mac, content = data[:_MAC_BYTES], data[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(purpose, content)):
            return None
        opened = _decoder.decode(content)
        return (opened.kind, opened.text) if self._clock() < opened.until else None

    def _mac(self, purpose: str, content: bytes) -> bytes:
        digest = hashlib.sha256(purpose.encode("utf-8", "surrogatepass")).digest()
        return hmac.digest(self._secret(), b"state" + digest + content, "sha256")
