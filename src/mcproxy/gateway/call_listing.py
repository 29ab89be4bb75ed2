"""A script's calls in few words: what a model needs of them is mostly what went wrong. Pure."""

from collections.abc import Sequence

from mcproxy.types import CallRecord, Json, JsonObject

MAX_SINGLE = 8  # calls that are listed one by one; of more, those alone that did not succeed
MAX_FAILED = 20


def listed_calls(records: Sequence[CallRecord]) -> list[Json]:
    """Up to eight calls one by one; more of them by server and tool, before those that failed or
    whose outcome is unknown, in their order."""
    if len(records) <= MAX_SINGLE:
        return [_single(record) for record in records]
    groups: dict[tuple[str, str], list[CallRecord]] = {}
    for record in records:
        groups.setdefault((record.server, record.tool), []).append(record)
    failed = [record for record in records if record.outcome != "ok"]
    return [*map(_group, groups.values()), *map(_single, failed[:MAX_FAILED])]


def _single(record: CallRecord) -> JsonObject:
    told: JsonObject = {
        "server": record.server,
        "tool": record.tool,
        "ms": record.ms,
        "outcome": record.outcome,
    }
    if record.outcome != "ok" and record.line is not None:
        told["line"] = record.line
    if record.arguments:
        told["arguments"] = record.arguments
    if record.replayed:
        told["replayed"] = True
    return told


def _group(records: Sequence[CallRecord]) -> JsonObject:
    first = records[0]
    told: JsonObject = {
        "server": first.server,
        "tool": first.tool,
        "count": len(records),
        "ms": round(sum(record.ms for record in records), 3),
    }
    counts = {
        "failed": sum(record.outcome == "failed" for record in records),
        "unknown": sum(record.outcome == "unknown" for record in records),
        "replayed": sum(record.replayed for record in records),
    }
    return told | {name: count for name, count in counts.items() if count}
