"""Where the commands find what waits for a person: in the gateway's store, or at a gateway.

The store (a file in the state directory, or what several gateways share) belongs to whoever runs
them: no client can reach it. At a gateway elsewhere, only a token that opens every namespace
decides (``page/decisions``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol, TypeAlias
from urllib.parse import quote, urlencode

import msgspec

from mcproxy.commands.gateway_client import GatewayClient
from mcproxy.commands.report import CommandReport
from mcproxy.gateway.approval_records import STATES, ApprovalRecord, ApprovalRecords
from mcproxy.gateway.definition_ledger import accept, all_held, remembered
from mcproxy.policy.definition_records import SeenDefinition
from mcproxy.store.interface import Store
from mcproxy.store.opening import OpenedStore

Held: TypeAlias = Mapping[str, Mapping[str, SeenDefinition]]
"""Definitions that wait, by source and name."""


class Decisions(Protocol):
    """What waits, and saying something of it; at a gateway, each raises GatewayRefused."""

    async def calls(self) -> list[ApprovalRecord]:
        """The calls that wait, the oldest first."""

    async def settle(self, id_: str, action: str) -> ApprovalRecord | None:
        """Approve or refuse one (``action`` is a key of ``STATES``); None where none waits so."""

    async def held(self) -> Held:
        """The definitions that wait."""

    async def accept(self, source: str, shown: Mapping[str, str]) -> None:
        """Accept these, each as it was ``shown_as``."""


Decide: TypeAlias = Callable[[Decisions], Awaitable[CommandReport]]


def in_store(opened: OpenedStore, decide: Decide) -> CommandReport:
    """Decide in the store of a gateway."""

    async def decided() -> CommandReport:
        async with opened as store:
            return await decide(_InStore(store))

    return asyncio.run(decided())


class _InStore:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def calls(self) -> list[ApprovalRecord]:
        return await ApprovalRecords(self._store).listed()

    async def settle(self, id_: str, action: str) -> ApprovalRecord | None:
        return await ApprovalRecords(self._store).settle(id_, STATES[action])

    async def held(self) -> Held:
        return all_held(await remembered(self._store))

    async def accept(self, source: str, shown: Mapping[str, str]) -> None:
        await accept(self._store, source, shown)


class AtGateway:
    """Those of a gateway that runs elsewhere."""

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway

    async def calls(self) -> list[ApprovalRecord]:
        """As ``Decisions``."""
        told = await self._gateway.decide("GET", "/approvals")
        return msgspec.convert(told.get("waiting"), list[ApprovalRecord])

    async def settle(self, id_: str, action: str) -> ApprovalRecord | None:
        """As ``Decisions``."""
        path = f"/approvals/{quote(id_, safe='')}/{action}"
        told = await self._gateway.decide("POST", path)
        return msgspec.convert(told["settled"], ApprovalRecord) if told else None

    async def held(self) -> Held:
        """As ``Decisions``."""
        told = await self._gateway.decide("GET", "/trust")
        return msgspec.convert(told.get("held"), dict[str, dict[str, SeenDefinition]])

    async def accept(self, source: str, shown: Mapping[str, str]) -> None:
        """As ``Decisions``."""
        for name, mark in shown.items():
            asked = urlencode({"source": source, "name": name})
            await self._gateway.decide("POST", f"/trust/{mark}?{asked}")
