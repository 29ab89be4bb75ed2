"""The values and the seams that all layers share. Frozen; no behaviour, no I/O.

``CallTool`` and ``RunCode`` are to this program what the ASGI application is to a web framework:
everything that calls a tool is a ``CallTool`` (so limits, checks and audit wrap one another), and
everything that runs a script is a ``RunCode``. What is neither is in ``exchange``.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

import msgspec

from mcproxy.cancellation import Clock

if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
else:
    Json = Any  # msgspec reads annotations at run time and knows no recursive alias

JsonObject: TypeAlias = dict[str, Json]

ServerState = Literal[
    "starting", "ready", "idle", "restarting", "failed", "disabled", "unconfigured"
]

Cause: TypeAlias = Literal[
    "no_command",  # there is no such program
    "not_executable",  # this user may not run it
    "no_directory",  # its cwd is none
    "no_package",  # npx or uvx found no such package
    "no_network",  # npx or uvx could not reach where packages are
    "exited",  # the process ended
    "connection_refused",
    "unknown_host",
    "tls",
    "proxy",
    "unauthorized",  # 401
    "forbidden",  # 403
    "not_found",  # 404, 405: the path of the URL
    "no_mcp",  # whoever answers does not speak MCP
    "no_api",  # its OpenAPI description cannot be used
    "too_slow",
]
"""Why a server is not there, as known where the fault arose."""

Change: TypeAlias = Literal["server_health", "tools_changed"]
"""What servers announce: one is in another state; what one offers, or says of itself, differs."""

Level: TypeAlias = Literal["strict", "hardened", "seccomp", "none"]
"""How strongly scripts are contained."""

LEVELS: tuple[Level, ...] = get_args(Level)
"""The best first."""

Event: TypeAlias = Literal["startup", "manual", "config_change", "tools_changed", "server_health"]
"""What causes the manifest to be refreshed, the strongest first: of several, it gives the name."""


class ToolRef(msgspec.Struct, frozen=True):
    """One tool of one server, by name. Server ``""`` means the gateway's own services."""

    server: str
    tool: str


class Tool(msgspec.Struct, frozen=True):
    """A tool as its server declared it; ``definition`` keeps every field, vendor ones too.

    ``held``: why it cannot be called until a person has accepted its definition; that is then not
    what the server declared, but what may be told.
    """

    ref: ToolRef
    definition: Mapping[str, Json]
    held: str = ""


class ServerView(msgspec.Struct, frozen=True):
    """What one upstream server offers at one moment; tools in the server's own order.

    ``capabilities`` are those of its handshake, as it declared them.
    """

    name: str
    state: ServerState
    description: str = ""
    tools: tuple[Tool, ...] = ()
    capabilities: Mapping[str, Json] = msgspec.field(default_factory=dict)


class ServerHealth(msgspec.Struct, frozen=True):
    """How one upstream server is; ``restarts`` since the start, ``pid`` of its process if any.

    ``repairs``: its tools whose definitions were mended or set aside, each with the reason;
    ``held``: those that cannot be called until a person accepts them.
    ``instances``: the process id of each instance beside it (None: it runs elsewhere), for a server
    whose clients have instances of their own; None for one that they share. ``rss_mb``: MiB that
    all its processes, and what they started, held when they were last looked at. ``cause`` sorts
    ``last_error``, where that can be.
    """

    state: ServerState
    tools: int = 0
    restarts: int = 0
    pid: int | None = None
    last_error: str | None = None
    repairs: tuple[str, ...] = ()
    instances: tuple[int | None, ...] | None = None
    rss_mb: float | None = None
    cause: Cause | None = None
    held: tuple[str, ...] = ()


class Discreet(msgspec.Struct, frozen=True):
    """A value that has secrets: the fields that are ``hidden`` do not stand in its ``repr``."""

    hidden: ClassVar[frozenset[str]]

    def __repr__(self) -> str:
        names = [name for name in self.__struct_fields__ if name not in self.hidden]
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__name__}({shown})"


class Claims(Discreet, frozen=True):
    """What a verified access token says: who holds it, and what it is for.

    ``rules`` are those under which it was verified: under any other it says nothing.
    """

    name: str
    scopes: frozenset[str]
    rules: object
    hidden: ClassVar = frozenset({"rules"})


class Caller(Discreet, frozen=True):
    """Who sends a request, as the transport knows it; what it may do is for ``policy`` to say.

    ``local``: it is sent from this machine. ``foreign``: a page of another site sends it. Both are
    as ``policy.origins`` judged. ``claims`` are those of a token that proved to be an issuer's;
    ``fault`` says why it did not.
    """

    token: str | None = None
    origin: str | None = None
    local: bool = True
    foreign: bool = False
    claims: Claims | None = None
    fault: str = ""
    hidden: ClassVar = frozenset({"token"})


class Limits(msgspec.Struct, frozen=True):
    """What one script may use. Each limit is enforced in the gateway process or by the kernel."""

    timeout_secs: float = 30.0
    memory_mb: int = 256
    max_calls: int = 200
    argument_bytes: int = 1 << 20  # leaves the worker: arguments of one call
    result_bytes: int = 16 << 20  # leaves the worker: the script's result, or what it keeps
    value_bytes: int = 16 << 20  # enters the worker: one tool's value
    stdout_bytes: int = 256 << 10  # then cut, with a mark
    scratch_mb: int = 16
    open_files: int = 32


class Capacity(msgspec.Struct, frozen=True):
    """How many may be under way in one place at once, and how many more may wait for it.

    For the words of a refusal: ``owner`` is whose limits these are, ``things`` what is counted, and
    ``setting`` what sets them, empty where nothing does.
    """

    max_running: int
    max_waiting: int
    owner: str
    things: str
    setting: str = ""


class Job(msgspec.Struct, frozen=True):
    """One script to run: its text, its limits, and the JSON text behind ``api.manifest()``.

    ``profile`` names the sandbox profile (network, files, packages) prepared for its namespace;
    ``clock`` is that of its time limit, which stands still while its client is asked;
    ``reading`` says whether the script is read first, so that one that is sure to fail does not
    begin, or is read only. The reading is a call of ``check``, of the gateway's own services.
    """

    source: str
    limits: Limits
    manifest: bytes = b"{}"
    profile: str = ""
    clock: Clock = msgspec.field(default_factory=Clock)
    reading: Literal["none", "first", "only"] = "none"


Wrapping: TypeAlias = Literal["never", "perhaps", "always"]
"""``perhaps``: where the text of the result is that of the member ``result``."""


class ToolResult(msgspec.Struct, frozen=True):
    """A ``CallToolResult`` (MCP, server/tools) as raw JSON, so that passing it on costs nothing.

    ``ref``: the tool that answered, where the name that was asked may have been another form of it.
    ``wrapping``: whether its value stands in an object that its framework put around it.
    ``replayed``: it is the record of an earlier call, and nothing was sent.
    ``kind``: its ``resultType``; another one only where an extension was agreed on that has it.
    """

    raw: bytes
    is_error: bool = False
    ref: ToolRef | None = None
    wrapping: Wrapping = "never"
    replayed: bool = False
    kind: str = "complete"


CallOutcome: TypeAlias = Literal["ok", "failed", "unknown"]


class CallRecord(msgspec.Struct, frozen=True):
    """One call that a script made; ``ms`` is wall time in the gateway, upstream included.

    ``unknown``: it was sent, and no answer seen. ``arguments``: the head of their JSON text, of one
    that did not succeed. ``replayed``: it is the record of an earlier run's.
    """

    server: str
    tool: str
    ms: float
    outcome: CallOutcome
    arguments: str = ""
    replayed: bool = False
    line: int | None = None


class ScriptError(msgspec.Struct, frozen=True):
    """Why a script failed. ``type`` is the exception's class name, or ``Timeout``,
    ``MemoryLimit``, ``ResultLimit``, ``CheckError``, ``SandboxError``."""

    type: str
    message: str
    line: int | None = None
    hint: str | None = None
    retryable: bool = False


class Outcome(msgspec.Struct, frozen=True):
    """What became of a script. ``error`` None means success; then ``value`` is its result, without
    the content ``blocks`` in it. ``whole``: the value is a preview, and this its whole JSON text,
    at which nobody has looked."""

    value: Json = None
    blocks: tuple[JsonObject, ...] = ()
    whole: bytes | None = None
    stdout: str = ""
    error: ScriptError | None = None
    traceback: str | None = None
    calls: tuple[CallRecord, ...] = ()
    notes: tuple[str, ...] = ()
    execution_time_ms: int = 0


class SandboxReport(msgspec.Struct, frozen=True):
    """What the sandbox was seen to enforce, for ``/health`` and ``doctor``.

    ``guarantees`` maps each promise to ``enforced:<by what>`` or ``not enforced``; ``missing``
    lists what this machine lacks, with the cure in words.
    """

    level: Level
    guarantees: Mapping[str, str] = msgspec.field(default_factory=dict)
    missing: tuple[str, ...] = ()


class PoolStats(msgspec.Struct, frozen=True):
    """How much the sandbox does now: workers ready, scripts running, scripts that wait for a slot;
    and did since the start: executions, zygotes started again after one had ended."""

    ready: int = 0
    running: int = 0
    waiting: int = 0
    executions: int = 0
    restarts: int = 0


CallTool: TypeAlias = Callable[[ToolRef, Mapping[str, Json]], Awaitable[ToolResult]]
RunCode: TypeAlias = Callable[[Job, CallTool], Awaitable[Outcome]]
