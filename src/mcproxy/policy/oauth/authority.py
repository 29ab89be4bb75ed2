"""Verifies the tokens of one issuer under one set of rules; the keys are ``keyring``'s."""

from typing import NoReturn

from mcproxy.config.auth import JwtConfig
from mcproxy.policy.identity import TokenRefused
from mcproxy.policy.oauth.issuer import fetch_keys
from mcproxy.policy.oauth.keyring import Keyring, Keys
from mcproxy.policy.oauth.verify import claims_of, heading, key_for
from mcproxy.types import Claims


class Authority:
    """One issuer, under one set of rules. Without ``run`` it has no keys and refuses all tokens."""

    def __init__(self, rules: JwtConfig, keyring: Keyring | None = None) -> None:
        self.rules = rules
        self.keyring = keyring or Keyring(self.ask)

    def after(self, other: "Authority") -> "Authority":
        """The same, with the other's keys where the rules find and read them alike."""
        alike = _keys_by(self.rules) == _keys_by(other.rules)
        return Authority(self.rules, other.keyring) if alike else self

    async def run(self) -> NoReturn:
        """Keep the issuer's keys fresh, until cancelled."""
        await self.keyring.run()

    async def ask(self) -> Keys:
        """The keys that the issuer gives now, at least one. Raises IssuerUnavailable."""
        return await fetch_keys(self.rules)

    async def verify(self, token: str) -> Claims:
        """What the token says. Asks the issuer for a key that is not known yet, where that may be
        asked; waits at most ``keyring.WAIT_SECS``. Raises TokenRefused."""
        asked = heading(token, self.rules)
        key = key_for(asked, self.keyring.keys) or key_for(asked, await self.keyring.renewed())
        if key is None:
            lacking = "no key of the issuer fits it"
            unknown = "the issuer's keys cannot be had at the moment (the log says why)"
            raise TokenRefused(lacking if self.keyring.keys else unknown)
        return claims_of(token, key, self.rules)


def _keys_by(rules: JwtConfig) -> tuple[object, ...]:
    """What decides which keys there are."""
    return rules.issuer, rules.jwks_url, rules.algorithms
