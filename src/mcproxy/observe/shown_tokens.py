"""How many tokens models were sent, by client: lists of tools, found tools, results of scripts; and
what of the servers' own they were spared.

Texts are counted when somebody looks, off the event loop, with a real tokenizer where one is
installed (``bpe-openai``: o200k; it takes 100 MB, so it is loaded then, not before). Else, and of
what does not fit until then, tokens are estimated by length, and marked so.
"""

import asyncio
import importlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

MAX_CLIENTS = 50  # further ones are counted together
OTHER = "(other)"
BYTES_A_TOKEN = 4.0  # of English and JSON, near enough
MAX_PENDING_BYTES = 1 << 20

Kind: TypeAlias = Literal["list", "search", "execute"]


class ClientTokens(msgspec.Struct):
    """What one client was sent, in tokens and in numbers of replies. ``lists``: how often it listed
    the tools of a namespace. ``spared_bytes``: of results of tools that a script saw in its place.
    ``estimated``: part of it was not counted."""

    tokens: dict[Kind, float] = msgspec.field(default_factory=dict)
    replies: dict[Kind, int] = msgspec.field(default_factory=dict)
    lists: dict[str, int] = msgspec.field(default_factory=dict)
    spared_bytes: int = 0
    estimated: bool = False


class ShownTokens:
    """The counts since the start, by the name that a client gives itself."""

    def __init__(self) -> None:
        self._clients: dict[str, ClientTokens] = {}
        self._pending: list[tuple[ClientTokens, Kind, bytes]] = []
        self._pending_bytes = 0

    def sent(self, client: str, kind: Kind, text: bytes, namespace: str = "") -> None:
        """A client was sent a text that its model reads."""
        shown = self._of(client)
        shown.replies[kind] = shown.replies.get(kind, 0) + 1
        if kind == "list":
            shown.lists[namespace] = shown.lists.get(namespace, 0) + 1
        if self._pending_bytes + len(text) <= MAX_PENDING_BYTES:
            self._pending.append((shown, kind, text))
            self._pending_bytes += len(text)
        else:
            shown.estimated = True
            _add(shown, kind, estimate(len(text)))

    def spared(self, client: str, size: int) -> None:
        """A script had a tool's result of so many bytes, which its client's model did not see."""
        self._of(client).spared_bytes += size

    async def counted(self) -> Mapping[str, ClientTokens]:
        """What was sent to whom, all of it counted."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        if pending:
            counts = await asyncio.to_thread(_count, [text for _, _, text in pending])
            for number, (shown, kind, text) in enumerate(pending):
                shown.estimated = shown.estimated or counts is None
                _add(shown, kind, counts[number] if counts else estimate(len(text)))
        return self._clients

    def _of(self, client: str) -> ClientTokens:
        if client not in self._clients and len(self._clients) >= MAX_CLIENTS:
            client = OTHER
        return self._clients.setdefault(client, ClientTokens())


def estimate(size: int) -> float:
    """About how many tokens so many bytes are."""
    return size / BYTES_A_TOKEN


def _count(texts: Sequence[bytes]) -> Sequence[int] | None:
    """The tokens of each; None where no tokenizer is installed."""
    try:
        with warnings.catch_warnings(action="ignore"):  # it reads its data by a function of old
            encoding = importlib.import_module("bpe_openai").get_encoding("o200k_base")
    except ImportError:
        return None
    return [len(encoding.encode_ordinary(text.decode("utf-8", "replace"))) for text in texts]


def _add(shown: ClientTokens, kind: Kind, tokens: float) -> None:
    shown.tokens[kind] = shown.tokens.get(kind, 0.0) + tokens
