"""The shape of the configuration: every section with its defaults and units.

Opens no file and reads no environment; rules that span sections (names that must exist, cycles)
are in ``checks``. Comments and ``${VAR}`` are taken care of before the model sees a document.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field

from mcproxy.config.auth import Auth
from mcproxy.config.fields import Name, Pause, Seconds, Section, Text, no_boolean, refusal
from mcproxy.config.hooks import RefreshHooks, ServerHooks
from mcproxy.config.hosts import origin, served_host
from mcproxy.config.sandbox import Sandbox, SandboxOverride
from mcproxy.config.state import SharedState

ANY = "*"  # in a token's namespaces and in allowed_origins
ANONYMOUS = "anonymous"  # the name of a caller without a token, in logs and rate limits

Surface: TypeAlias = Literal["code", "direct", "both", "call"]
Mode: TypeAlias = Literal["code", "direct", "both", "call", "auto"]
Affinity: TypeAlias = Literal["shared", "client", "call"]
Verdict: TypeAlias = Literal["allow", "ask", "deny"]
Trust: TypeAlias = Literal["off", "warn", "hold", "strict"]
AskFor: TypeAlias = Literal["nothing", "destructive", "writes"]
CallsPerMinute = Annotated[int, Field(ge=1, le=1_000_000), BeforeValidator(no_boolean)]
MaxRunning = Annotated[int, Field(ge=1, le=1_000), BeforeValidator(no_boolean)]
MaxWaiting = Annotated[int, Field(ge=0, le=1_000), BeforeValidator(no_boolean)]
AuditMegabytes = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(no_boolean)]
AuditFiles = Annotated[int, Field(ge=1, le=1_000), BeforeValidator(no_boolean)]
InlineKilobytes = Annotated[int, Field(ge=8, le=256), BeforeValidator(no_boolean)]
KeptMegabytes = Annotated[int, Field(ge=1, le=10_000), BeforeValidator(no_boolean)]
InstanceCount = Annotated[int, Field(ge=1, le=1_000), BeforeValidator(no_boolean)]
TokenCount = Annotated[int, Field(ge=0, le=1_000_000), BeforeValidator(no_boolean)]
OriginEntry = Annotated[str, AfterValidator(origin)]
HostEntry = Annotated[str, AfterValidator(served_host)]
OperationPattern = Annotated[str, Field(min_length=1, max_length=500)]
ToolPattern = Annotated[str, Field(min_length=1, max_length=200)]


class ServerManifests(Section):
    """How one server's tools are read."""

    startup_dwell_secs: Pause | None = Field(
        default=None, description="Seconds to wait after the start before its tools are read."
    )


class ServerConfig(Section):
    """One upstream server: a command to run (stdio), a URL to connect to, or an HTTP API with its
    OpenAPI description."""

    command: Text | None = Field(
        default=None, description="Program to run; it speaks MCP over stdio."
    )
    args: tuple[str, ...] = Field(default=(), description="Arguments of the command.")
    env: Mapping[str, str] = Field(
        default_factory=dict, description="Environment variables of the command.", repr=False
    )
    cwd: Text | None = Field(default=None, description="Working directory of the command.")
    url: Text | None = Field(
        default=None, description="http(s) URL of a remote server.", repr=False
    )
    openapi: Text | None = Field(
        default=None,
        description="File or http(s) URL of an OpenAPI description (3.1, 3.0, 2.0; JSON or YAML): "
        "each operation of that HTTP API is a tool.",
        repr=False,
    )
    base_url: Text | None = Field(
        default=None,
        description="Of an API: the URL that its paths follow, where it is not the one that the "
        "description names.",
        repr=False,
    )
    credentials: Mapping[str, str] = Field(
        default_factory=dict,
        description="Of an API: the secret for each of its security schemes, by the name that the "
        "description gives them; 'user:password' for basic authentication.",
        repr=False,
    )
    operations: tuple[OperationPattern, ...] = Field(
        default=(),
        description="Of an API: which operations are tools, by patterns (as in a shell) of "
        "'GET /path', of the operationId, or of 'tag:NAME'; with a leading '!': which are not.",
    )
    refresh_secs: Seconds = Field(
        default=3600.0,
        description="Of an API: its description is read again after so many seconds, where it is a "
        "URL; a file is read again when it has changed.",
    )
    transport: Literal["http", "sse"] = Field(
        default="http", description="Of a remote server: Streamable HTTP, or the older HTTP+SSE."
    )
    headers: Mapping[str, str] = Field(
        default_factory=dict,
        description="HTTP headers sent to a remote server, or to an API.",
        repr=False,
    )
    namespace: Name | None = Field(
        default=None, description="The namespace that the server belongs to."
    )
    enabled: bool = True
    description: str | None = Field(
        default=None, description="One line for models that search tools."
    )
    prefix: bool = Field(
        default=True, description="false: in direct mode its tools keep their bare names."
    )
    learn_results: bool = Field(
        default=True,
        description="false: what its tools return is not learned, and nothing learned is shown.",
    )
    timeout_secs: Seconds = Field(default=120.0, description="Time of one call, in seconds.")
    start_timeout_secs: Seconds | None = Field(
        default=None,
        description="Time of a start until the server answers, in seconds: by default 300 for a "
        "command (a first start may download it), 60 for others.",
    )
    tool_timeouts: Mapping[str, Seconds] = Field(
        default_factory=dict, description="Time of one call by tool, in seconds."
    )
    affinity: Affinity = Field(
        default="shared",
        description="What shares one instance of the server: 'shared' (all calls), 'client' (those "
        "of one client's session), 'call' (nothing).",
    )
    max_instances: InstanceCount = Field(
        default=8, description="Instances at a time, beside the one that tells the tools."
    )
    instance_idle_secs: Seconds = Field(
        default=600.0, description="An instance is stopped after so many seconds unused."
    )
    tools: Mapping[ToolPattern, Verdict] = Field(
        default_factory=dict,
        description="Which of its tools may be used, by name or pattern (as in a shell): 'allow', "
        "'ask' (a person is asked before each call) or 'deny', which no namespace can lift.",
    )
    trust: Trust | None = Field(
        default=None, description="As the key of that name at the top level, for this server."
    )
    sandbox: SandboxOverride = SandboxOverride()
    manifests: ServerManifests = ServerManifests()
    refresh_hooks: ServerHooks = ServerHooks()


class RateLimit(Section):
    """How often a caller may call upstream tools in a namespace."""

    requests_per_minute: CallsPerMinute = Field(
        description="Upstream calls a minute for each caller; a quarter of it at once."
    )


class Concurrency(Section):
    """How many executions and direct calls of a namespace may be under way at once.

    The calls of a script are part of its execution and need no further place.
    """

    max_running: MaxRunning = Field(description="Executions and direct calls under way at once.")
    max_waiting: MaxWaiting = Field(
        default=16, description="How many more may wait for a place; the others are refused."
    )


def _parents(value: object) -> object:
    """``extends`` may be null, one name or a list of names."""
    if value is not None and not isinstance(value, str | list | tuple):
        raise refusal("must be null, a name or a list of names")
    return (value,) if isinstance(value, str) else value or ()


class NamespaceConfig(Section):
    """A set of servers that a caller reaches together, and the limits for using them."""

    extends: Annotated[
        tuple[Name, ...],
        BeforeValidator(_parents, json_schema_input_type=Name | list[Name] | None),
    ] = Field(default=(), description="Namespaces whose servers and settings this one inherits.")
    servers: tuple[str, ...] = Field(default=(), description="Names of servers.")
    mode: Mode | None = Field(
        default=None,
        description="What clients see: 'code' (search and execute; the default), 'direct' (the "
        "servers' own tools), 'both', 'call' (search and call, for models that write no code) or "
        "'auto' (by the client, and by what the tools cost).",
    )
    require_auth: bool = Field(
        default=False, description="Only callers with a token for it, also in all that extend it."
    )
    allowed_origins: tuple[OriginEntry, ...] | None = Field(
        default=None,
        description="Origins that requests may come from: 'localhost', an origin, '*'. Their "
        "pages may read the answers (CORS).",
    )
    learn_results: bool | None = Field(
        default=None,
        description="false: calls made in it teach nothing of what tools return.",
    )
    isolated: bool = Field(default=False, description="Groups must name it with a leading '!'.")
    rate_limit: RateLimit | None = None
    concurrency: Concurrency | None = None
    tools: Mapping[ToolPattern, Verdict] = Field(
        default_factory=dict,
        description="Which tools may be used, by a pattern of their names or of 'server.tool'; of "
        "several the most specific counts. Those of the namespaces that it extends count too.",
    )
    read_only: bool = Field(
        default=False,
        description="Only tools that are annotated readOnlyHint, also in all that extend it.",
    )
    ask_for: AskFor = Field(
        default="nothing",
        description="A person is asked before each call of tools that no pattern names: "
        "'destructive' (annotated so, or not annotated), 'writes' (all that are not read-only).",
    )
    sandbox: SandboxOverride = SandboxOverride()


class GroupConfig(Section):
    """An endpoint over several namespaces."""

    namespaces: tuple[str, ...] = Field(
        default=(), description="Names of namespaces; an isolated one is written '!name'."
    )


class Audit(Section):
    """The record of who called what: a line for each script and each upstream call, no values."""

    file: Text | None = Field(
        default=None,
        description="File that the lines are appended to; at level DEBUG the log has them too.",
    )
    max_mb: AuditMegabytes = Field(
        default=50, description="Size in MiB at which the file is set aside as FILE.1."
    )
    keep: AuditFiles = Field(default=5, description="Number of files set aside that are kept.")


class ServerTtl(Section):
    """When a server that nobody uses is stopped; the next call starts it again."""

    enabled: bool = False
    default_secs: Seconds = Field(
        default=86400.0, description="Longest life of a process, in seconds."
    )
    max_idle_secs: Seconds = Field(
        default=3600.0, description="Stopped after so many seconds unused."
    )


class StubGeneration(Section):
    """Type stubs of all tools, for editors, as ``mcproxy stubs`` writes them."""

    enabled: bool = Field(
        default=False,
        description="True: they are written at the start and at each change of tools.",
    )
    output_dir: Text = Field(
        default="./stubs", description="Directory that the stubs are written to."
    )
    languages: tuple[Literal["python", "typescript"], ...] = ("python", "typescript")


class Results(Section):
    """What a model is told of a script, and what is kept for the next one: each caller's, in each
    namespace and session."""

    inline_kb: InlineKilobytes = Field(
        default=16,
        description="KiB of a reply, at most: of more a preview is shown, and the whole is kept.",
    )
    ttl_secs: Seconds = Field(
        default=3600.0, description="What is not used for so many seconds is forgotten."
    )
    keep_mb: KeptMegabytes = Field(
        default=64, description="MiB for each caller, namespace and session; the oldest goes first."
    )
    persist: bool = Field(
        default=True, description="False: it is kept in memory and gone with the gateway."
    )


class MetaToolsConfig(Section):
    """The gateway's own tools."""

    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]*$", max_length=32)] = Field(
        default="", description="Stands before their names, for instance 'mcproxy_'."
    )


def _page(value: object) -> object:
    """``page`` may be false, or true."""
    return {"enabled": value} if isinstance(value, bool) else value


class PageConfig(Section):
    """The web page for the person who runs the gateway."""

    enabled: bool = Field(default=True, description="False: there is no page.")
    values: bool = Field(
        default=False,
        description="True: it shows the heads of calls' arguments, secrets masked.",
    )


class Manifests(Section):
    """How the tools of all servers are collected."""

    startup_dwell_secs: Pause = Field(
        default=2.0,
        description="Seconds that the gateway's start waits for its servers, at most.",
    )
    refresh_event_hooks: RefreshHooks = RefreshHooks()
    per_server_ttl: ServerTtl = ServerTtl()
    typed_stub_generation: StubGeneration = StubGeneration()


def _listed(key: str, either: object) -> BeforeValidator:
    """A section that holds little more than a list of names may be written as that list."""

    def expanded(value: object) -> object:
        return {key: value} if isinstance(value, list) else value

    return BeforeValidator(expanded, json_schema_input_type=either)


Namespaces: TypeAlias = Mapping[
    Name, Annotated[NamespaceConfig, _listed("servers", NamespaceConfig | list[str])]
]
Groups: TypeAlias = Mapping[
    Name, Annotated[GroupConfig, _listed("namespaces", GroupConfig | list[str])]
]


class Config(Section):
    """The whole configuration of MCProxy."""

    schema_url: str | None = Field(
        default=None, alias="$schema", description="For editors; ignored."
    )
    servers: Mapping[Name, ServerConfig] = Field(default_factory=dict)
    namespaces: Namespaces = Field(default_factory=dict)
    groups: Groups = Field(default_factory=dict)
    allowed_hosts: tuple[HostEntry, ...] = Field(
        default=(),
        description="Names and addresses under which clients reach the gateway, beside those of "
        "the address that it listens on; a request for any other Host is refused.",
    )
    meta_tools: MetaToolsConfig = MetaToolsConfig()
    direct_tokens: TokenCount = Field(
        default=3000,
        description="In mode 'auto', tools that cost a model at most so many tokens are shown "
        "themselves.",
    )
    hosts: Mapping[str, Surface] = Field(
        default_factory=dict,
        description="In mode 'auto', what programs see by the name that they give themselves "
        "(clientInfo), which may be a pattern as in a shell.",
    )
    auth: Auth = Auth()
    trust: Trust = Field(
        default="hold",
        description="What is done about a tool whose definition instructs the model, hides from "
        "the user, or became dangerous otherwise: 'hold' (it cannot be called until a person "
        "accepts it), 'warn' or 'off'. 'strict' holds every change of meaning, and tools that a "
        "server adds.",
    )
    audit: Audit = Audit()
    telemetry: bool | None = Field(
        default=None,
        description="Traces and metrics for OpenTelemetry: true, false, or null (where the "
        "environment names a receiver and the extra 'otel' is installed).",
    )
    sandbox: Sandbox = Sandbox()
    results: Results = Results()
    state: SharedState = SharedState()
    page: Annotated[
        PageConfig, BeforeValidator(_page, json_schema_input_type=PageConfig | bool)
    ] = PageConfig()
    manifests: Manifests = Manifests()
