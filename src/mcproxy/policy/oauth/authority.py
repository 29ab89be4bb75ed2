"""Verifies the tokens of one issuer under one set of rules; the keys are ``keyring``'s."""

from typing import NoReturn

from mcproxy.config.auth import JwtConfig
from mcproxy.policy.identity import TokenRefused
from mcproxy.policy.oauth.issuer import fetch_keys
from mcproxy.policy.oauth.keyring import Keyring, Keys
from mcproxy.policy.oauth.verify import claims_of, heading, key_for
from mcproxy.types import Claims


class Authority:
    """One issuer. Without ``run`` it has no keys, and refuses everything."""

    def __init__(self, rules: JwtConfig) -> None:
        self.rules = rules
        self._keyring = Keyring(self.ask)

    async def run(self) -> NoReturn:
        """Keep the issuer's keys fresh, until cancelled."""
        await self._keyring.run()

    async def ask(self) -> Keys:
        """The keys that the issuer gives now, at least one. Raises IssuerUnavailable."""
        return await fetch_keys(self.rules)

    async def verify(self, token: str) -> Claims:
        """What the token says. Asks the issuer for a key that is not known yet, where that may be
        asked; waits at most ``keyring.WAIT_SECS``. Raises TokenRefused."""
        asked = heading(token, self.rules)
        key = key_for(asked, self._keyring.keys) or key_for(asked, await self._keyring.renewed())
        if key is None:
            lacking = "no key of the issuer fits it"
            unknown = "the issuer's keys cannot be had at the moment (the log says why)"
            raise TokenRefused(lacking if self._keyring.keys else unknown)
        return claims_of(token, key, self.rules)
