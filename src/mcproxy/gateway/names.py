"""Names under which clients see the tools and prompts of many servers. Pure.

A name is ``server__name``, at most 64 characters of ``[A-Za-z0-9_-]``, which all clients and model
APIs take. What does not fit, or could be read in two ways, gets an alias with a hash of the exact
server and name, so that it is the same whatever else is there. Which names a server's items have
therefore depends on no other server, but for two cases: bare names, and an alias that another
server's item was named after on purpose.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import count

MAX_CHARACTERS = 64
SEPARATOR = "__"

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ODD = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)
_HASH_CHARACTERS = 8

Item = tuple[str, str]
"""Server and name, as the server calls it."""


def aliases(
    items: Iterable[Item], bare: Collection[str] = (), reserved: Collection[str] = ()
) -> Mapping[str, Item]:
    """The item behind each name that clients see, in the order given.

    Servers in ``bare`` keep their own names where these are valid and free; the later of two, and
    what collides with a prefixed or ``reserved`` name, keeps its prefix.
    """
    ordered = list(dict.fromkeys(items))
    taken = dict.fromkeys(reserved)
    names: dict[Item, str] = {}
    # Prefixed ones first: a bare name must not push another server's tool from its place.
    for item in sorted(ordered, key=lambda item: item[0] in bare):
        name = next(name for name in _candidates(item, bare) if name not in taken)
        taken[name] = None
        names[item] = name
    return {names[item]: item for item in ordered}


def item_of(name: str, servers: Iterable[str]) -> Item | None:
    """The item that a name most probably stands for, of one of these servers; None: a bare name.

    Where the name has a hash it is not undone: the server's own name for it cannot be told.
    """
    for server in sorted(servers, key=len, reverse=True):
        start = _ODD.sub("_", f"{server}{SEPARATOR}")
        if name.startswith(start):
            return server, name.removeprefix(start)
    return None


def _candidates(item: Item, bare: Collection[str]) -> Iterator[str]:
    server, name = item
    if server in bare and _PLAIN.fullmatch(name):
        yield name
    prefixed = f"{server}{SEPARATOR}{name}"
    if _PLAIN.fullmatch(prefixed) and _unambiguous(server, name):
        yield prefixed
    for attempt in count():
        yield _hashed(item, prefixed, attempt)


def _unambiguous(server: str, name: str) -> bool:
    """Whether the first separator in the prefixed name is the one between server and name."""
    return SEPARATOR not in server and not server.endswith("_") and not name.startswith("_")


def _hashed(item: Item, prefixed: str, attempt: int) -> str:
    exact = "\0".join([*item, *([str(attempt)] if attempt else [])])
    digest = hashlib.sha256(exact.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_CHARACTERS]
    readable = _ODD.sub("_", prefixed)[: MAX_CHARACTERS - _HASH_CHARACTERS - 1]
    return f"{readable}_{digest}"
