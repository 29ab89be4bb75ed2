"""Which stores a configuration asks for: files in the state directory, memory, or one that several
gateways share. None is opened here; each is an asynchronous context manager."""

import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from mcproxy.config.load import Loaded
from mcproxy.config.state import STORE_FILE, state_directory
from mcproxy.errors import ConfigError, Problem
from mcproxy.store.interface import (
    DECISIONS_BOUNDS,
    DECISIONS_FILE,
    SESSIONS_BOUNDS,
    Store,
    StoreBounds,
)
from mcproxy.store.local_store import LocalStore
from mcproxy.types import Discreet

if TYPE_CHECKING:
    from mcproxy.store.shared_store import SharedStore


_SECRET_BYTES, _NAME_BYTES = 32, 8
_GATEWAYS, _SECRET = "gateways", "secret"
_SECRET_SECS = 10 * 365 * 24 * 3600.0  # as long as the store lives


class OpenedStore(Store, AbstractAsyncContextManager["OpenedStore"], Protocol):
    """A ``Store`` while its context lasts."""


class Secret:
    """What the gateways that share a store sign with; of this process alone, until it is learned
    what the others know."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(_SECRET_BYTES)

    def __call__(self) -> bytes:
        """The secret."""
        return self._secret

    async def learn(self, store: Store, configured: str | None) -> None:
        """Take the one that is configured, else the one that the first gateway has made. Raises
        StateUnavailable."""
        own = self._secret
        self._secret = (
            configured.encode()
            if configured
            else await store.update(_GATEWAYS, _SECRET, lambda known: known or own, _SECRET_SECS)
        )


class SharedStores(Discreet, frozen=True):
    """Where other gateways have the same: what scripts leave, and sessions; ``gateway`` is the name
    of this one, new with each start."""

    kept: "SharedStore"
    sessions: "SharedStore"
    configured_secret: str | None
    gateway: str = msgspec.field(default_factory=lambda: secrets.token_hex(_NAME_BYTES))
    hidden: ClassVar = frozenset({"configured_secret"})


class Stores(msgspec.Struct, frozen=True):
    """``kept`` is what scripts leave, ``decisions`` what people decided."""

    kept: OpenedStore
    decisions: OpenedStore
    shared: SharedStores | None = None
    secret: Secret = msgspec.field(default_factory=Secret)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Have all of them open. Raises StateUnavailable."""
        async with self.kept, self.decisions:
            if self.shared is None:
                yield
                return
            async with self.shared.sessions as sessions:
                await self.secret.learn(sessions, self.shared.configured_secret)
                yield


def stores_of(loaded: Loaded) -> Stores:
    """The stores of a gateway. Raises ConfigError where the extra is missing."""
    results, shared = loaded.config.results, loaded.config.state
    bounds = StoreBounds(owner_bytes=results.keep_mb << 20)
    if shared.url is not None:
        kept, sessions = (
            _shared(loaded, "kept", bounds),
            _shared(loaded, "sessions", SESSIONS_BOUNDS),
        )
        decisions = _shared(loaded, "decisions", DECISIONS_BOUNDS)
        return Stores(kept, decisions, SharedStores(kept, sessions, shared.secret))
    state = state_directory(loaded.environment)
    file = LocalStore(state / STORE_FILE if results.persist else None, bounds)
    return Stores(file, LocalStore(state / DECISIONS_FILE, DECISIONS_BOUNDS))


def _shared(loaded: Loaded, part: str, bounds: StoreBounds) -> "SharedStore":
    try:
        from mcproxy.store.shared_store import SharedStore  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = f"{sys.executable} -m pip install 'valkey>=6.1'"
        problem = Problem("state.url", f"needs the client of the store: {error}", hint)
        raise ConfigError(str(loaded.source or "configuration"), [problem]) from error
    state = loaded.config.state
    return SharedStore(str(state.url), f"{state.prefix}:{part}", bounds)
