"""What the gateway does now, and did lately: executions with their calls, an hour of figures, and
the tokens that clients were sent. For whoever looks at it; in memory, and bounded.

Everything here is told as it happens and is on the way of every call, so telling costs an append
and a count. Whoever looks on compares ``version`` and looks at the whole: nothing is queued for a
viewer, so one that reads slowly holds up nobody.
"""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping

import msgspec

from mcproxy.call_errors import NO_SUCH_TOOL, failure_code, result_code
from mcproxy.foreign_text import one_line, short_name
from mcproxy.observe.history import History, ShownTokens
from mcproxy.types import CallTool, Json, ToolRef, ToolResult

KEPT_EXECUTIONS = 200  # the latest; with all their calls about 3 MB
KEPT_CALLS = 100  # of one execution, the first; further ones are counted
SAMPLE_SECS = 5.0  # how often memory is looked at
_MAX_NAME_CHARS = 128  # of a name that somebody asked for
_MAX_ARGUMENT_CHARS = 200

_encode = msgspec.json.Encoder().encode


class SeenCall(msgspec.Struct):
    """One call. ``began``: seconds since its execution did; ``ms`` and ``outcome`` (``ok``,
    ``tool_error``, ``replayed`` or a code) are None while it is under way. ``arguments`` are shown
    where the operator wants values to be."""

    server: str
    tool: str
    began: float
    ms: float | None = None
    outcome: str | None = None
    arguments: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.outcome not in (None, "ok", "replayed")


class SeenExecution(msgspec.Struct):
    """A script, or a client's own call of a tool. ``at``: when it began, Unix time in seconds;
    ``outcome`` (``success``, ``ok`` or what went wrong) and ``ms`` are None while it runs.
    ``calls`` has the first, ``count`` is how many there were."""

    id: str
    caller: str
    namespace: str
    script: bool
    at: float = msgspec.field(default_factory=time.time)
    started: float = msgspec.field(default_factory=time.monotonic)
    calls: list[SeenCall] = msgspec.field(default_factory=list)
    count: int = 0
    failures: int = 0
    ms: float | None = None
    outcome: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended otherwise than well."""
        return self.outcome not in (None, "success", "ok", "replayed")


class Activity:
    """What is done and was done. ``version`` grows with every change. ``values``: the heads of
    arguments are kept too, as ``mask`` leaves them."""

    def __init__(self) -> None:
        self.version = 0
        self.values = False
        self.mask: Callable[[str], str] = str
        self.history = History()
        self.tokens = ShownTokens()
        self._executions: OrderedDict[str, SeenExecution] = OrderedDict()
        self._calls: Counter[str] = Counter()

    async def run(self, memory_mb: Callable[[], float]) -> None:
        """Look at the memory now and then, until cancelled."""
        while True:
            self.history.memory(memory_mb())
            self.touch()
            await asyncio.sleep(SAMPLE_SECS)

    def around(
        self, who: SeenExecution, call: CallTool, spared: Callable[[int], None] | None = None
    ) -> CallTool:
        """The same call, seen; ``who`` begins with this. The gateway's own services are not shown.
        ``spared`` is told the size of each result that stays within a script."""
        self._executions[who.id] = who
        if len(self._executions) > KEPT_EXECUTIONS:
            self._forget_one()
        self.touch()

        async def seen_call(ref: ToolRef, arguments: Mapping[str, Json]) -> ToolResult:
            if not ref.server:
                return await call(ref, arguments)
            seen = self._began(who, ref, arguments)
            outcome = "ok"
            try:
                result = await call(ref, arguments)
                outcome = result_code(result)
            except BaseException as error:
                outcome = failure_code(error)
                raise
            finally:
                secs = time.monotonic() - who.started
                seen.outcome, seen.ms = outcome, (secs - seen.began) * 1000
                self._answered(who, seen)
            if spared:
                spared(len(result.raw))
            return result

        return seen_call

    def ended(self, who: SeenExecution, outcome: str) -> None:
        """A script has ended, or was refused before it ran."""
        self._executions.setdefault(who.id, who)
        who.outcome, who.ms = outcome, (time.monotonic() - who.started) * 1000
        self.history.execution()
        self.touch()

    def stopped(self, who: SeenExecution) -> None:
        """A script runs no more, whatever became of it: a client may have cancelled it."""
        if who.outcome is None:
            self.ended(who, "cancelled")

    def executions(self) -> Iterator[SeenExecution]:
        """Those that are kept, the latest first."""
        return iter(reversed(self._executions.values()))

    def execution(self, id_: str) -> SeenExecution | None:
        """One of them."""
        return self._executions.get(id_)

    def calls_by_server(self) -> tuple[Counter[str], Counter[str]]:
        """How many calls each server has had since the start, and how many are under way."""
        running = Counter(
            call.server
            for execution in self._executions.values()
            if execution.outcome is None
            for call in execution.calls
            if call.outcome is None
        )
        return self._calls, running

    def touch(self) -> None:
        """Something has changed that viewers see."""
        self.version += 1

    def _began(self, who: SeenExecution, ref: ToolRef, arguments: Mapping[str, Json]) -> SeenCall:
        server, tool = (
            short_name(name[:_MAX_NAME_CHARS], _MAX_NAME_CHARS) for name in (ref.server, ref.tool)
        )
        seen = SeenCall(server, tool, time.monotonic() - who.started)
        if self.values:
            text = _encode(arguments)[: 4 * _MAX_ARGUMENT_CHARS].decode(errors="replace")
            seen.arguments = one_line(self.mask(text))[:_MAX_ARGUMENT_CHARS]
        who.count += 1
        if len(who.calls) < KEPT_CALLS:
            who.calls.append(seen)
        self.touch()
        return seen

    def _answered(self, who: SeenExecution, seen: SeenCall) -> None:
        self.history.call(seen.ms or 0.0, failed=seen.failed)
        if seen.outcome not in NO_SUCH_TOOL:  # their names are whatever was asked
            self._calls[seen.server] += 1
        who.failures += seen.failed
        if not who.script:
            who.outcome, who.ms = seen.outcome, seen.ms
        self.touch()

    def _forget_one(self) -> None:
        """The oldest that has ended; where all run, the oldest."""
        ended = (id_ for id_, one in self._executions.items() if one.outcome is not None)
        del self._executions[next(ended, next(iter(self._executions)))]
