"""``mcproxy approvals``: the calls that wait for a person, and what the person says."""

from datetime import UTC, datetime

import msgspec

from mcproxy.commands.decisions import Decide, Decisions
from mcproxy.commands.report import PROBLEMS, CommandReport
from mcproxy.gateway.approval_records import STATES, ApprovalRecord
from mcproxy.types import Json

ACTIONS = tuple(STATES)


async def show(decisions: Decisions) -> CommandReport:
    """Those that wait, the oldest first."""
    waiting = await decisions.calls()
    lines = [line for record in waiting for line in _told(record)]
    shown: list[Json] = [msgspec.to_builtins(record) for record in waiting]
    return CommandReport(
        tuple(lines) or ("no call waits for an approval",), facts={"waiting": shown}
    )


def settle(action: str, id_: str) -> Decide:
    """Approve or refuse one."""

    async def decide(decisions: Decisions) -> CommandReport:
        record = await decisions.settle(id_, action)
        if record is None:
            told = f"no call waits as {id_!r}; `mcproxy approvals` lists those that do"
            return CommandReport((told,), PROBLEMS)
        then = "it may be made once" if record.state == "approved" else "it fails from now on"
        told = f"{record.id}: {record.server}.{record.tool} is {record.state}; {then}"
        return CommandReport((told,), facts={"settled": msgspec.to_builtins(record)})

    return decide


def _told(record: ApprovalRecord) -> list[str]:
    when = datetime.fromtimestamp(record.asked_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    head = f"{record.id}  {when}  {record.caller} in {record.namespace}, by {record.source}"
    return [head, *(f"  {line}" for line in record.call.splitlines())]
