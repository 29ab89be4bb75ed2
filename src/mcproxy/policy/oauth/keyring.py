"""The keys of one issuer as they are known now, when they are asked for anew, and who verifies the
issuer's tokens by them under one set of rules.

Nobody's token makes the gateway ask more often than ``PAUSE_SECS``. Keys outlive an issuer that
cannot be reached, for a bounded time. Who gives a keyring its keys is passed in.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn, TypeAlias

import msgspec
from jwt import PyJWK
from msgspec.structs import replace

from mcproxy.config.auth import JwtConfig
from mcproxy.policy.access import TokenRefused
from mcproxy.policy.oauth.issuer import FETCH_SECS, IssuerUnavailable, fetch_keys
from mcproxy.policy.oauth.verify import claims_of, heading, key_for
from mcproxy.types import Claims

FRESH_SECS = 600.0  # then they are asked for anew: a key that the issuer withdrew must go
RETRY_SECS = 30.0  # after they could not be had
PAUSE_SECS = 5.0  # at least, between two requests: anybody can send a token with an unknown key
KEPT_SECS = 3600.0  # for an issuer that is down; it issues no tokens, and those it did expire
WAIT_SECS = FETCH_SECS + 1.0  # of one caller

Keys: TypeAlias = tuple[PyJWK, ...]

log = logging.getLogger(__name__)


class Held(msgspec.Struct, frozen=True):
    """The last keys that were had, ``since`` when, and when they were last asked for.

    Times are in seconds of the clock.
    """

    keys: Keys = ()
    since: float = float("-inf")
    asked: float = float("-inf")

    def at(self, now: float) -> Keys:
        """The keys that count now."""
        return self.keys if now - self.since <= KEPT_SECS else ()

    def due(self, now: float) -> float:
        """In how many seconds the issuer is to be asked without anybody's need."""
        pause = FRESH_SECS if self.since == self.asked else RETRY_SECS
        return max(0.0, self.asked + pause - now)

    def may_ask(self, now: float) -> bool:
        """May the issuer be asked because somebody needs another key?"""
        return now - self.asked >= PAUSE_SECS


class Keyring:
    """Keeps the keys fresh while ``run`` runs. ``fetch`` raises IssuerUnavailable."""

    def __init__(
        self, fetch: Callable[[], Awaitable[Keys]], now: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch = fetch
        self._now = now
        self._held = Held()
        self._error = ""
        self._wanted = asyncio.Event()
        self._asking = False
        self._answered = asyncio.Event()  # of the next answer; each answer has its own

    @property
    def keys(self) -> Keys:
        """The keys that count now; none where they were never had, or too long ago."""
        return self._held.at(self._now())

    async def run(self) -> NoReturn:
        """Ask the issuer when it is due or wanted, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._held.due(self._now())):
                    await self._wanted.wait()
            await self._ask()

    async def renewed(self) -> Keys:
        """The keys after the issuer was asked, where it may be asked again; waits at most
        WAIT_SECS."""
        answered = self._answered
        if not self._asking:
            if not self._held.may_ask(self._now()):
                return self.keys
            self._wanted.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECS):
                await answered.wait()
        return self.keys

    async def _ask(self) -> None:
        self._asking = True
        asked = self._now()
        try:
            self._held = Held(await self._fetch(), asked, asked)
            self._tell("")
        except IssuerUnavailable as error:
            self._held = replace(self._held, asked=asked)
            self._tell(str(error))
        except Exception:
            # Whatever an issuer answers, the gateway goes on without its keys.
            self._held = replace(self._held, asked=asked)
            log.exception("auth.jwt: the issuer's keys could not be read")
        finally:
            self._asking = False
            self._wanted.clear()
            answered, self._answered = self._answered, asyncio.Event()
            answered.set()

    def _tell(self, error: str) -> None:
        """Log what changed, once: an issuer may be down for hours."""
        if error and error != self._error:
            state = "the last ones count" if self.keys else "its tokens are refused"
            log.warning("auth.jwt: no keys from the issuer, %s: %s", state, error)
        elif self._error and not error:
            log.info("auth.jwt: the issuer gives its keys again")
        self._error = error


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
