"""Calls that wait for a person who cannot be asked through the client: kept until somebody settles
them with ``mcproxy approvals``, in this process or another, or until their time is over.

An approval is for one call of a caller in a namespace, with exactly these arguments, and is used
up by it; a refusal holds until its time is over. Ids are random, so that nobody can make a call
whose id is that of another.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import msgspec

from mcproxy.store.interface import Store

APPROVAL_SECS = 24 * 3600.0  # a person may come back the next morning
MAX_WAITING = 100  # of a caller in a namespace: nobody reads more, and others need room
_OWNER = "approvals"
_ID_BYTES = 5

Settled: TypeAlias = Literal["approved", "refused"]
STATES: Mapping[str, Settled] = {"approve": "approved", "refuse": "refused"}
"""What comes of what a person says."""
State: TypeAlias = Literal["waiting", "approved", "refused", "used"]


class ApprovalRecord(msgspec.Struct, frozen=True):
    """One call; ``call`` is what the person is shown, ``asked_at`` in seconds since 1970.
    ``taker`` names who used it."""

    id: str
    caller: str
    namespace: str
    server: str
    tool: str
    call: str
    source: str
    asked_at: float
    state: State = "waiting"
    taker: str = ""


_record = msgspec.json.Decoder(ApprovalRecord).decode


class ApprovalRecords:
    """All of them, in a store that outlives the process. ``digest`` stands for a call."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def take(self, digest: str) -> State | None:
        """How a call was settled; ``used``: it was approved, and this use is its only one. None
        where nobody has said anything."""
        if not await self._store.keys(_OWNER, digest):
            return None
        taker = secrets.token_hex(_ID_BYTES)
        found = await self._change(digest, lambda record: _taken(record, taker))
        if found is None or found.state == "waiting":
            return None
        return None if found.state == "used" and found.taker != taker else found.state

    async def wait(self, digest: str, new: ApprovalRecord) -> ApprovalRecord | None:
        """The record of a call that waits from now on, or did before; None where as many of its
        caller in the namespace wait as may."""
        whose = (new.caller, new.namespace)
        others = [one for one in await self.listed() if (one.caller, one.namespace) == whose]
        if len(others) >= MAX_WAITING and not await self._store.keys(_OWNER, digest):
            return None
        value = await self._store.update(
            _OWNER, digest, lambda old: _waiting(old, new), APPROVAL_SECS
        )
        return _record(value)

    async def listed(self) -> list[ApprovalRecord]:
        """Those that wait, the oldest first."""
        return sorted(
            (record for _, record in await self._all() if record.state == "waiting"),
            key=lambda record: record.asked_at,
        )

    async def settle(self, id_: str, state: Settled) -> ApprovalRecord | None:
        """Approve or refuse the one that waits under this id; None where none does."""
        for digest, record in await self._all():
            if record.id == id_ and record.state == "waiting":
                return await self._change(digest, lambda now: _settled(now, id_, state))
        return None

    async def _all(self) -> list[tuple[str, ApprovalRecord]]:
        digests = await self._store.keys(_OWNER, "")
        found = [(digest, await self._store.get(_OWNER, digest)) for digest in digests]
        return [(digest, _record(value)) for digest, value in found if value]

    async def _change(
        self, digest: str, change: Callable[[ApprovalRecord], ApprovalRecord]
    ) -> ApprovalRecord | None:
        def changed(old: bytes | None) -> bytes:
            return msgspec.json.encode(change(_record(old))) if old else b""

        value = await self._store.update(_OWNER, digest, changed, APPROVAL_SECS)
        return _record(value) if value else None


def new_record(
    whose: tuple[str, str], tool: tuple[str, str], call: str, source: str
) -> ApprovalRecord:
    """A call that begins to wait now."""
    id_ = secrets.token_hex(_ID_BYTES)
    return ApprovalRecord(id_, *whose, *tool, call, source, time.time())


def _taken(record: ApprovalRecord, taker: str) -> ApprovalRecord:
    if record.state != "approved":
        return record
    return msgspec.structs.replace(record, state="used", taker=taker)


def _settled(record: ApprovalRecord, id_: str, state: Settled) -> ApprovalRecord:
    if record.id != id_ or record.state != "waiting":
        return record
    return msgspec.structs.replace(record, state=state)


def _waiting(old: bytes | None, new: ApprovalRecord) -> bytes:
    known = _record(old) if old else None
    return msgspec.json.encode(new if known is None or known.state == "used" else known)
