"""Which stores a configuration asks for: files in the state directory, memory, or one that several
gateways share. None is opened here; each is an asynchronous context manager."""

import sys
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mcproxy.config.load import Loaded
from mcproxy.config.state import STORE_FILE, state_directory
from mcproxy.errors import ConfigError, Problem
from mcproxy.store.interface import DECISIONS_BOUNDS, DECISIONS_FILE, Store, StoreBounds
from mcproxy.store.local_store import LocalStore

if TYPE_CHECKING:
    from mcproxy.store.shared_store import SharedStore


class OpenedStore(Store, AbstractAsyncContextManager["OpenedStore"], Protocol):
    """A ``Store`` while its context lasts."""


@dataclass(frozen=True, slots=True)
class Stores:
    """``kept`` is what scripts leave, ``decisions`` what people decided; ``shared`` is the former
    where other gateways have it too."""

    kept: OpenedStore
    decisions: OpenedStore
    shared: "SharedStore | None" = None


def stores_of(loaded: Loaded) -> Stores:
    """The stores of a gateway. Raises ConfigError where the extra is missing."""
    results = loaded.config.results
    bounds = StoreBounds(owner_bytes=results.keep_mb << 20)
    if loaded.config.state.url is not None:
        shared = _shared(loaded, "kept", bounds)
        return Stores(shared, _shared(loaded, "decisions", DECISIONS_BOUNDS), shared)
    state = state_directory(loaded.environment)
    kept = LocalStore(state / STORE_FILE if results.persist else None, bounds)
    return Stores(kept, LocalStore(state / DECISIONS_FILE, DECISIONS_BOUNDS))


def _shared(loaded: Loaded, part: str, bounds: StoreBounds) -> "SharedStore":
    try:
        from mcproxy.store.shared_store import SharedStore  # noqa: PLC0415 - an extra
    except ImportError as error:
        hint = f"{sys.executable} -m pip install 'valkey>=6.1'"
        problem = Problem("state.url", f"needs the client of the store: {error}", hint)
        raise ConfigError(str(loaded.source or "configuration"), [problem]) from error
    state = loaded.config.state
    return SharedStore(str(state.url), f"{state.prefix}:{part}", bounds)
