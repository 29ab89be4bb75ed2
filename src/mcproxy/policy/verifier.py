"""The issuer in force: whose tokens are verified, and how one gives way to the next.

The part that verifies needs an extra, and is loaded only where ``auth.jwt`` is configured.
"""

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mcproxy.config.load import Loaded
from mcproxy.errors import ConfigError, Problem
from mcproxy.policy.access import TokenRefused
from mcproxy.types import Caller

if TYPE_CHECKING:
    from mcproxy.policy.oauth.keyring import Authority

log = logging.getLogger(__name__)


def authority_of(loaded: Loaded) -> "Authority | None":
    """The issuer that a configuration names. Raises ConfigError where the extra is missing."""
    rules = loaded.config.auth.jwt
    if rules is None:
        return None
    try:
        from mcproxy.policy.oauth.keyring import Authority  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = f"{sys.executable} -m pip install 'pyjwt[crypto]>=2.11'"
        problem = Problem("auth.jwt", f"needs PyJWT and cryptography: {error}", hint)
        raise ConfigError(str(loaded.source or "configuration"), [problem]) from error
    return Authority(rules)


class Verifier:
    """Verifies callers' tokens with the authority in force, which has its keys while ``run`` runs;
    None verifies nothing."""

    def __init__(self, authority: "Authority | None") -> None:
        self._authority = authority
        self._changed = asyncio.Event()

    def use(self, authority: "Authority | None") -> None:
        """Verify with another one from now on; for the same issuer it goes on with the keys that
        are at hand, since the issuer may be down at the moment."""
        known = self._authority
        self._authority = authority.after(known) if authority and known else authority
        if not (known and self._authority and self._authority.keyring is known.keyring):
            self._changed.set()

    async def run(self) -> None:
        """Let the authority in force keep its keys fresh, until cancelled."""
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as tasks:
                keeping = tasks.create_task(self._authority.run()) if self._authority else None
                await self._changed.wait()
                if keeping:
                    keeping.cancel()

    async def verified(self, caller: Caller) -> Caller:
        """The caller with the claims of its token, or with the reason why there are none; what it
        had of another token is forgotten.

        May wait for the issuer, at most ``keyring.WAIT_SECS``.
        """
        if self._authority is None or caller.token is None:
            return caller
        claims, fault = None, ""
        try:
            claims = await self._authority.verify(caller.token)
        except TokenRefused as refused:
            log.debug("a token is refused: %s", refused)
            fault = str(refused)
        return replace(caller, claims=claims, fault=fault)
