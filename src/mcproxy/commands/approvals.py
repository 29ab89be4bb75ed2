"""``mcproxy approvals``: the calls that wait for a person, and what the person says.

Works on the gateway's store: a file in the state directory, or what several gateways share. It
belongs to whoever runs them; no client can reach it.
"""

import asyncio
from datetime import UTC, datetime

import msgspec

from mcproxy.commands.report import PROBLEMS, CommandReport
from mcproxy.gateway.approval_records import STATES, ApprovalRecord, ApprovalRecords, Settled
from mcproxy.store.opening import OpenedStore
from mcproxy.types import Json

ACTIONS = tuple(STATES)


def show(decisions: OpenedStore) -> CommandReport:
    """Those that wait, the oldest first."""
    waiting = asyncio.run(_listed(decisions))
    lines = [line for record in waiting for line in _told(record)]
    shown: list[Json] = [msgspec.to_builtins(record) for record in waiting]
    return CommandReport(
        tuple(lines) or ("no call waits for an approval",), facts={"waiting": shown}
    )


def settle(decisions: OpenedStore, action: str, id_: str) -> CommandReport:
    """Approve or refuse one."""
    record = asyncio.run(_settled(decisions, id_, STATES[action]))
    if record is None:
        told = f"no call waits as {id_!r}; `mcproxy approvals` lists those that do"
        return CommandReport((told,), PROBLEMS)
    then = "it may be made once" if record.state == "approved" else "it fails from now on"
    told = f"{record.id}: {record.server}.{record.tool} is {record.state}; {then}"
    return CommandReport((told,), facts={"settled": msgspec.to_builtins(record)})


async def _listed(decisions: OpenedStore) -> list[ApprovalRecord]:
    async with decisions as store:
        return await ApprovalRecords(store).listed()


async def _settled(decisions: OpenedStore, id_: str, said: Settled) -> ApprovalRecord | None:
    async with decisions as store:
        return await ApprovalRecords(store).settle(id_, said)


def _told(record: ApprovalRecord) -> list[str]:
    when = datetime.fromtimestamp(record.asked_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    head = f"{record.id}  {when}  {record.caller} in {record.namespace}, by {record.source}"
    return [head, *(f"  {line}" for line in record.call.splitlines())]
