"""What a model is told of a script that has ended, within one budget for all of it. Pure.

Result, output, calls and error share the bytes of a reply. The result has what the others leave,
or is a preview; of long output head and tail are shown. What is not shown whole can be kept whole
under a reference, which the reply then tells.
"""

import textwrap
from collections.abc import Mapping, Sequence

import msgspec
from msgspec.structs import asdict

from mcproxy.types import CallRecord, Json, JsonObject, Outcome
from mcproxy.wire.message import UNREADABLE, is_deep

MAX_SINGLE = 8  # calls that are listed one by one; of more, those alone that did not succeed
MAX_FAILED = 20
_FIXED_BYTES = 800  # of a reply: status, ids, how to go on, where the whole is
_LONG_MS = 1000  # of a call that a model may want to do otherwise
_PLACE = 'File "<script>", line '
_MARK_BYTES = 100  # what stands in the place of what is left out
# Shares of the budget, in sixteenths; what is left of them is the output's.
_MESSAGE, _HINT, _TRACEBACK, _CALLS, _NOTES, _OUTPUT = 4, 1, 2, 3, 2, 4

_encode = msgspec.json.Encoder().encode


class References(msgspec.Struct, frozen=True):
    """Where the whole is of what is not shown whole; ``session`` has to be named to get at it."""

    result: str | None = None
    stdout: str | None = None
    session: str | None = None


class Reply:
    """The reply of at most ``limit`` bytes as JSON, beside its content blocks. ``cut_result`` and
    ``cut_stdout`` are the JSON texts of what is not shown whole, and is to be kept."""

    def __init__(self, outcome: Outcome, limit: int) -> None:
        self._outcome, share = outcome, limit // 16
        error = outcome.error
        self._facts: JsonObject = {
            "traceback": outcome.traceback and shortened(outcome.traceback, _TRACEBACK * share),
            "error": _present(asdict(error), share) if error else None,
            "calls": _listed(listed_calls(outcome.calls), _CALLS * share),
            "execution_time_ms": outcome.execution_time_ms,
            "notes": _listed([shortened(note, share) for note in outcome.notes], _NOTES * share),
        }
        room = limit - _FIXED_BYTES - _size(self._facts)
        said = _size(outcome.stdout)
        whole = _whole(outcome, room - min(said, _OUTPUT * share))
        self.cut_result = outcome.whole if whole is None else None
        self._value = outcome.value if whole is None else whole[0]
        room -= _size(self._value)
        self.cut_stdout = _encode(outcome.stdout) if said > room else None
        self._room = min(room, _OUTPUT * share)

    def result(self, told: Mapping[str, Json], references: References) -> JsonObject:
        """The ``CallToolResult``; ``told`` are more facts, of a few bytes."""
        outcome = self._outcome
        body: JsonObject = {
            "status": "error" if outcome.error else "success",
            "result": self._value,
            "stdout": self._stdout(references),
            **self._facts,
            **told,
        }
        if self.cut_result is not None:
            body["truncated"] = _truncated(len(self.cut_result), references)
        for name in ("stdout", "error", "calls", "notes"):
            if not body[name]:
                del body[name]
        content: list[Json] = [{"type": "text", "text": as_text(body)}, *outcome.blocks]
        result: JsonObject = {"content": content, "structuredContent": body}
        if outcome.error:
            result["isError"] = True
        return result

    def _stdout(self, references: References) -> str:
        text = self._outcome.stdout
        if self.cut_stdout is None:
            return text
        where = f'; whole: api.result("{references.stdout}")' if references.stdout else ""
        return shortened(text, self._room, where)


def as_text(body: Mapping[str, Json]) -> str:
    """The facts of a reply as compact JSON for a model: without what says nothing (no traceback),
    in one line for each call, and without what is said twice. An execution's id is of use where
    there is something to go on from, and then a note has it."""
    told = {**body, "ms": body["execution_time_ms"]}
    for name in ("execution_time_ms", "execution"):
        told.pop(name, None)
    error = told.get("error")
    if isinstance(error, dict):
        told["error"] = {name: fact for name, fact in error.items() if fact is not False}
        told["traceback"] = _trace(str(told["traceback"] or ""), error)
    if not told["traceback"]:
        del told["traceback"]
    if isinstance(calls := told.get("calls"), list):
        told["calls"] = [_line(call) for call in calls]
    return _encode(told).decode()


def _trace(trace: str, error: Mapping[str, Json]) -> str:
    """A traceback without what the error says itself; of a single place only its source is left."""
    trace = trace.removeprefix("Traceback (most recent call last):\n")
    for said in (f"{error['type']}: {error['message']}", str(error["type"])):
        trace = trace.removesuffix(said)
    if trace.count(_PLACE) == 1 and error.get("line"):
        trace = textwrap.dedent(trace.partition("\n")[2])
    return trace.strip("\n")


def _line(call: Json) -> Json:
    """``calc.mean x12, 2 s, 1 failed``: the time where it is long."""
    if not isinstance(call, dict) or "more" in call:
        return call
    count = f" x{call['count']}" if "count" in call else ""
    parts = [f"{call['server']}.{call['tool']}{count}"]
    if isinstance(call["ms"], int | float) and call["ms"] >= _LONG_MS:
        parts.append(f"{call['ms'] / 1000:.1f} s")
    if call.get("outcome", "ok") != "ok":
        where = f" in line {call['line']}" if "line" in call else ""
        parts.append(f"{call['outcome']}{where}: {call.get('arguments', '')}")
    counted = [fact for fact in ("failed", "unknown", "replayed") if fact in call]
    parts += [fact if call[fact] is True else f"{call[fact]} {fact}" for fact in counted]
    return ", ".join(parts)


def _whole(outcome: Outcome, room: int) -> tuple[Json] | None:
    """The result as it is, where there is room for it."""
    if outcome.whole is None:
        return (outcome.value,)
    if len(outcome.whole) > room or outcome.blocks:
        return None
    try:
        value: Json = msgspec.json.decode(outcome.whole)
    except UNREADABLE:
        return None
    return None if is_deep(outcome.whole, value) else (value,)


def _truncated(size: int, references: References) -> JsonObject:
    hint = "This is a preview. Return less, or work on the whole"
    ref, session = references.result, references.session
    if ref is None:
        return {"bytes": size, "hint": hint}
    how = f'with session="{session}"' if session else "in the next script"
    return {"bytes": size, "ref": ref, "hint": f'{hint} {how}: api.result("{ref}")'}


def _present(fields: JsonObject, share: int) -> JsonObject:
    told: JsonObject = {name: value for name, value in fields.items() if value is not None}
    for name, sixteenths in (("message", _MESSAGE), ("hint", _HINT), ("type", 1)):
        if name in told:
            told[name] = shortened(str(told[name]), sixteenths * share)
    return told


def shortened(text: str, limit: int, where: str = "") -> str:
    """Head and tail of a text of more than ``limit`` bytes as JSON; ``where`` the whole is."""
    size = _size(text)
    if size <= limit:
        return text
    mark = f"\n… {len(text)} characters in all{where} …\n"
    half = max(limit - _MARK_BYTES, 0) // 2
    while half:
        cut = _until_line_end(text[:half]) + mark + _from_line(text[-half:])
        if (size := _size(cut)) <= limit:
            return cut
        half = min(half - 1, half * limit // size)  # characters are not bytes
    return mark.strip()


def _until_line_end(head: str) -> str:
    end = head.rfind("\n")
    return head[:end] if end > len(head) // 2 else head


def _from_line(tail: str) -> str:
    start = tail.find("\n") + 1
    return tail[start:] if start < len(tail) // 2 else tail


def listed_calls(records: Sequence[CallRecord]) -> list[Json]:
    """Up to eight calls one by one; more of them by server and tool, after those that failed or
    whose outcome is unknown, in their order."""
    if len(records) <= MAX_SINGLE:
        return [_single(record) for record in records]
    groups: dict[tuple[str, str], list[CallRecord]] = {}
    for record in records:
        groups.setdefault((record.server, record.tool), []).append(record)
    failed = [record for record in records if record.outcome != "ok"]
    return [*map(_single, failed[:MAX_FAILED]), *map(_group, groups.values())]


def _listed(items: Sequence[Json], limit: int) -> list[Json]:
    """The first items, as many as ``limit`` bytes have room for, and how many more there are."""
    shown: list[Json] = []
    left = limit - _MARK_BYTES
    for item in items:
        left -= _size(item) + 1
        if left < 0:
            return [*shown, {"more": len(items) - len(shown)}]
        shown.append(item)
    return shown


def _size(value: Json) -> int:
    return len(_encode(value))


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
