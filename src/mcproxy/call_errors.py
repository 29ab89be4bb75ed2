"""What one tool call can fail with; a script sees it as ``ToolError``, by its code.

    CallError
    ├── UnknownServer      unknown_server
    ├── UnknownTool        unknown_tool
    ├── Declined           declined
    ├── ApprovalNeeded     approval_needed
    ├── ToolHeld           held
    ├── InvalidArguments   invalid_arguments
    ├── RateLimited        rate_limited
    ├── Busy               busy
    ├── CallLimit          call_limit
    ├── CallTimeout        timeout
    ├── ServerDown         server_down
    ├── UnknownOutcome     unknown_outcome
    ├── NotKept            not_kept
    ├── StateUnavailable   state_unavailable
    ├── UpstreamError      upstream_error: the server answered with a JSON-RPC error
    └── TooLarge           too_large

A tool that answers ``isError`` is not an exception here: the server is well and the tool said no.
Messages are made inside, from facts, so that each fault reads the same wherever it arises.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

from mcproxy.errors import McproxyError, RpcError
from mcproxy.types import Capacity, Json, ToolRef

_MAX_NAME_CHARS = 200  # of a name in a message
STATE_RETRY_SECS = 5  # a store that starts anew takes a few
_MAX_KEPT_SHOWN = 20  # names of what a session keeps, in a message


class CallError(McproxyError):
    """One tool call failed. ``retryable``: the same call may succeed later without a change.

    ``retry_after`` is in seconds, None where nothing is known.
    """

    code = "call_failed"
    retryable = False
    unanswered = False  # it may have been done all the same

    def __init__(self, ref: ToolRef, message: str, *, retry_after: float | None = None) -> None:
        self.ref, self.message, self.retry_after = ref, message, retry_after
        super().__init__(message)

    def reword(self, told: Callable[[Json], Json]) -> None:
        """Say it in the words that ``told`` makes of it: without what must not be told."""
        self.message = str(told(self.message))
        self.args = (self.message,)


class UnknownServer(CallError):
    """No such server within the caller's reach; ``known`` are the names that are."""

    code = "unknown_server"

    def __init__(self, ref: ToolRef, near: Sequence[str], known: Sequence[str]) -> None:
        hint = f" Did you mean {_either(near)}?" if near else ""
        names = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
        names = names or "none in this namespace"
        super().__init__(ref, f"There is no server {_cut(ref.server)!r}.{hint} Servers: {names}.")


class UnknownTool(CallError):
    """The server has no such tool; ``near`` are call lines of those that come close."""

    code = "unknown_tool"

    def __init__(self, ref: ToolRef, near: Sequence[str], why: str = "") -> None:
        hint = f" Did you mean {_either(near, quote=False)}?" if near else ""
        hint = hint or f' See api.search("{ref.server}") for its tools.'
        reason = why or f"Server {ref.server!r} has no tool {_cut(ref.tool)!r}."
        super().__init__(ref, reason + hint)


class Declined(CallError):
    """A person was asked whether the call may be made, and said no; nothing was sent."""

    code = "declined"

    def __init__(self, ref: ToolRef) -> None:
        super().__init__(
            ref,
            f"This call of {_name(ref)} was declined by the user; nothing was sent. Do not try it "
            "again: ask the user what they want instead.",
        )


class ApprovalNeeded(CallError):
    """A person has to allow the call, and could not be asked; it waits under ``id_``, None where as
    many wait as may."""

    code = "approval_needed"

    def __init__(self, ref: ToolRef, id_: str | None) -> None:
        self.id = id_
        how = (
            f"It waits as {id_}: tell the user to run `mcproxy approvals approve {id_}` (or "
            "refuse), then make exactly this call again."
            if id_
            else "Too many wait already: tell the user to settle some with `mcproxy approvals`."
        )
        super().__init__(
            ref,
            f"This call of {_name(ref)} needs a person's approval, who cannot be asked through "
            f"this client; nothing was sent. {how}",
        )


class ToolHeld(CallError):
    """The tool's definition waits for a person to accept it; ``why`` follows "its definition"."""

    code = "held"

    def __init__(self, ref: ToolRef, why: str) -> None:
        super().__init__(
            ref,
            f"{_name(ref)} is held: its definition {why}. Nothing was sent. Do without it, or ask "
            f"the user to look at it with `mcproxy trust {ref.server}`.",
        )


class InvalidArguments(CallError):
    """The arguments break the tool's input schema; nothing was sent. ``call`` is the signature."""

    code = "invalid_arguments"

    def __init__(self, ref: ToolRef, problems: Sequence[str], call: str) -> None:
        listed = "; ".join(problems)
        end = "" if listed.endswith("?") else "."
        super().__init__(ref, f"Invalid arguments for {_name(ref)}: {listed}{end} Use: {call}")


class RateLimited(CallError):
    """The caller's token bucket for this namespace is empty."""

    code = "rate_limited"
    retryable = True

    def __init__(self, ref: ToolRef, namespace: str, per_minute: int, retry_after: float) -> None:
        secs = math.ceil(retry_after * 10) / 10  # what is told must be enough
        super().__init__(
            ref,
            f"Namespace {namespace!r} allows {per_minute} calls a minute "
            f"(rate_limit.requests_per_minute); try again in {secs:.1f} s.",
            retry_after=retry_after,
        )


class Busy(CallError):
    """As many are under way, and wait, as may; nothing was done. Server "" where it was no call.

    ``waited``: for so many seconds; None where too many wait already.
    """

    code = "busy"
    retryable = True

    def __init__(
        self, ref: ToolRef, full: Capacity, retry_after: float, waited: float | None = None
    ) -> None:
        by = f" ({full.setting})" if full.setting else ""
        since = "" if waited is None else f"; no place was free within {waited:g} s"
        super().__init__(
            ref,
            f"{full.owner} is busy: of {full.things}, {full.max_running} may run at once and "
            f"{full.max_waiting} more may wait{by}{since}. Nothing was done; try again in "
            f"{retry_after:g} s.",
            retry_after=retry_after,
        )


class CallLimit(CallError):
    """The script has used up its calls."""

    code = "call_limit"

    def __init__(self, ref: ToolRef, limit: int) -> None:
        super().__init__(
            ref,
            f"A script may make {limit} calls (sandbox.max_calls of the namespace sets this "
            "limit); split the work over several executions.",
        )


class CallTimeout(CallError):
    """No reply within the tool's time; ``safe`` when the tool is read-only or idempotent."""

    code = "timeout"
    unanswered = True

    def __init__(self, ref: ToolRef, secs: float, *, safe: bool) -> None:
        self.retryable = safe
        super().__init__(
            ref,
            f"{_name(ref)} did not answer within {secs:g} s and was cancelled "
            "(timeout_secs and tool_timeouts of the server set this limit).",
        )


class ServerDown(CallError):
    """The server cannot take the call, or died under it; ``detail`` has its last words.

    ``how`` it is, where it is not down but takes no more.
    """

    code = "server_down"
    retryable = True

    def __init__(
        self,
        ref: ToolRef,
        detail: str,
        *,
        how: str = "is down",
        retry_after: float | None = None,
        unanswered: bool = False,
    ) -> None:
        self.unanswered = unanswered
        text = f"Server {ref.server!r} {how}: {detail}"
        super().__init__(ref, text, retry_after=retry_after)


class UnknownOutcome(CallError):
    """A resumed script comes to a call of which nobody knows whether it was done; nothing is sent.

    ``succeeded``: it was done, and its value is not kept.
    """

    code = "unknown_outcome"

    def __init__(self, ref: ToolRef, *, succeeded: bool) -> None:
        known = (
            "was done in the run before, and its value is not kept"
            if succeeded
            else "was sent in the run before, and no answer was seen: it may have been done"
        )
        super().__init__(
            ref,
            f"This call of {_name(ref)} {known}. Nothing was sent now. Find out with a tool that "
            'reads, then leave the call out; or pass resume_unknown="retry" to send such calls '
            'again, "skip" to take null for their value.',
        )


class NotKept(CallError):
    """A script asks for what its session has not, or has no more; ``kept`` is what it has."""

    code = "not_kept"

    def __init__(self, ref: ToolRef, what: str, name: str, kept: Sequence[str]) -> None:
        there = ", ".join(kept[-_MAX_KEPT_SHOWN:]) or "nothing"
        super().__init__(
            ref,
            f"{what} has no {_cut(name)!r} in this session: it was never kept, or not used for too "
            f"long. It has: {there}.",
        )


class StateUnavailable(CallError):
    """What several gateways share cannot be reached; nothing was done. ``fault`` is what the store
    said."""

    code = "state_unavailable"
    retryable = True

    def __init__(self, fault: str) -> None:
        super().__init__(
            ToolRef("", ""),
            f"The gateway cannot reach the state that it shares with others: {fault}. Nothing was "
            f"done; try again in {STATE_RETRY_SECS} s.",
            retry_after=STATE_RETRY_SECS,
        )


class UpstreamError(CallError):
    """The server answered the call with a JSON-RPC error."""

    code = "upstream_error"

    def __init__(self, ref: ToolRef, rpc: RpcError) -> None:
        self.rpc = rpc
        super().__init__(ref, f"{_name(ref)}: {rpc.message} (JSON-RPC error {rpc.code})")

    def reword(self, told: Callable[[Json], Json]) -> None:
        """The same for the error itself. The URLs that a user is to open stay: they are no words,
        and a changed one is of no use (MCP 2025-11-25, "URL Elicitation Required")."""
        super().reword(told)
        code, data = self.rpc.code, self.rpc.data
        kept = data if code == RpcError.URL_ELICITATION_REQUIRED else told(data)
        after = self.rpc.retry_after
        self.rpc = RpcError(code, str(told(self.rpc.message)), kept, retry_after=after)


class TooLarge(CallError):
    """Arguments, a value or a frame over its limit; sizes in bytes."""

    code = "too_large"

    def __init__(self, ref: ToolRef, what: str, size: int, limit: int) -> None:
        super().__init__(
            ref, f"{what} of {_name(ref)}: {size} bytes, the limit is {limit}. Ask for less."
        )


NO_SUCH_TOOL = (UnknownServer.code, UnknownTool.code)
"""Of these, the names are whatever was asked."""


def failure_code(error: BaseException) -> str:
    """One word for whatever ended a call, for logs and metrics."""
    if isinstance(error, CallError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "internal_error"


def _cut(name: str) -> str:
    """A name as somebody asked for it, who may have sent a megabyte."""
    return name if len(name) <= _MAX_NAME_CHARS else f"{name[:_MAX_NAME_CHARS]}…"


def _name(ref: ToolRef) -> str:
    return f"{ref.server}.{ref.tool}"


def _either(names: Sequence[str], *, quote: bool = True) -> str:
    shown = [repr(name) if quote else name for name in names[:3]]
    return " or ".join(shown)
