"""The vocabulary of the Model Context Protocol, each word in one place: revisions, methods,
notifications, members of ``_meta``, HTTP headers, error codes, what a client can be asked; and what
of a message's parameters concerns whoever carries it, read without decoding the rest of them.

Texts of the specification are named by revision and page (2025-11-25, 2026-07-28). What
they mean for a message is for whoever handles it. Pure.
"""

from collections.abc import Mapping
from typing import Final

# Revisions, newest first: the stateless one, and those that begin with ``initialize``.
STATELESS_VERSION: Final = "2026-07-28"
HANDSHAKE_VERSIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")

# Requests of clients.
INITIALIZE: Final = "initialize"
PING: Final = "ping"
DISCOVER: Final = "server/discover"
LIST_TOOLS: Final = "tools/list"
CALL_TOOL: Final = "tools/call"
LIST_PROMPTS: Final = "prompts/list"
GET_PROMPT: Final = "prompts/get"
LIST_RESOURCES: Final = "resources/list"
LIST_TEMPLATES: Final = "resources/templates/list"
READ_RESOURCE: Final = "resources/read"
SUBSCRIBE: Final = "resources/subscribe"
UNSUBSCRIBE: Final = "resources/unsubscribe"
COMPLETE: Final = "completion/complete"
SET_LOG_LEVEL: Final = "logging/setLevel"
LISTEN: Final = "subscriptions/listen"

METHODS: Final = (
    INITIALIZE,
    PING,
    DISCOVER,
    LIST_TOOLS,
    CALL_TOOL,
    LIST_PROMPTS,
    GET_PROMPT,
    LIST_RESOURCES,
    LIST_TEMPLATES,
    READ_RESOURCE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    COMPLETE,
    SET_LOG_LEVEL,
    LISTEN,
)
"""Those of the protocol itself, of both eras; others are extensions'."""

RESERVED: Final = frozenset(method.partition("/")[0] for method in METHODS) | {
    "sampling",
    "elicitation",
    "roots",
}
"""First parts of names that are the protocol's own."""

HANDSHAKE_ONLY: Final = frozenset({INITIALIZE, PING, SET_LOG_LEVEL, SUBSCRIBE, UNSUBSCRIBE})
"""Methods that 2026-07-28 has no more."""

INPUT_REQUIRED_METHODS: Final = frozenset({CALL_TOOL, GET_PROMPT, READ_RESOURCE})
"""What may be answered with ``input_required`` (2026-07-28, basic/patterns/mrtr)."""

# Tasks: of the core in 2025-11-25 (basic/utilities/tasks), an extension since (SEP-2663).
GET_TASK: Final = "tasks/get"
TASK_RESULT: Final = "tasks/result"
UPDATE_TASK: Final = "tasks/update"
CANCEL_TASK: Final = "tasks/cancel"
LIST_TASKS: Final = "tasks/list"
TASKS: Final = "io.modelcontextprotocol/tasks"
TASK: Final = "task"
"""The ``resultType`` of a task that was made in place of a result; before, a parameter of what is
to become one, and the member of such a result."""

# Requests of servers.
CREATE_MESSAGE: Final = "sampling/createMessage"
ELICIT: Final = "elicitation/create"
LIST_ROOTS: Final = "roots/list"

ASKABLE: Final[Mapping[str, str]] = {
    CREATE_MESSAGE: "sampling",
    ELICIT: "elicitation",
    LIST_ROOTS: "roots",
}
"""What a server may ask a client for, each with the capability that the client must declare."""

# Members of capabilities that have extensions by identifier (SEP-2133); the latter is older.
EXTENSIONS: Final = "extensions"
EXPERIMENTAL: Final = "experimental"

# What ``resultType`` says where no extension adds to it (2026-07-28, basic/index).
COMPLETE_RESULT: Final = "complete"
INPUT_REQUIRED: Final = "input_required"

# Notifications.
INITIALIZED: Final = "notifications/initialized"
CANCELLED: Final = "notifications/cancelled"
PROGRESS: Final = "notifications/progress"
LOG_MESSAGE: Final = "notifications/message"
TOOLS_CHANGED: Final = "notifications/tools/list_changed"
PROMPTS_CHANGED: Final = "notifications/prompts/list_changed"
RESOURCES_CHANGED: Final = "notifications/resources/list_changed"
RESOURCE_UPDATED: Final = "notifications/resources/updated"
ELICITATION_COMPLETE: Final = "notifications/elicitation/complete"
SUBSCRIPTION_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"

# Members of ``_meta``.
META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
META_RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
META_PROGRESS_TOKEN: Final = "progressToken"  # noqa: S105 - no secret

META_TRACE: Final = ("traceparent", "tracestate", "baggage")
"""The W3C context of a trace (SEP-414): no prefix, as W3C spells them."""
META_LEFT_OUT: Final = "mcproxy/left-out"
"""Ours, of a listed tool: it cannot be offered, and why."""

# HTTP headers; their names are not case-sensitive.
SESSION_HEADER: Final = "Mcp-Session-Id"
VERSION_HEADER: Final = "MCP-Protocol-Version"
METHOD_HEADER: Final = "Mcp-Method"
NAME_HEADER: Final = "Mcp-Name"
PARAMETER_HEADER_PREFIX: Final = "Mcp-Param-"

# Error codes of MCP; those of JSON-RPC stand at ``errors.RpcError``.
TOO_MANY_REQUESTS: Final = -32000  # of the range for the server's own
RESOURCE_NOT_FOUND: Final = -32002  # handshake era; since then INVALID_PARAMS
HEADER_MISMATCH: Final = -32020
MISSING_CLIENT_CAPABILITY: Final = -32021
UNSUPPORTED_VERSION: Final = -32022

LOG_LEVELS: Final = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)
"""Of log messages, the least severe first (server/utilities/logging)."""


def is_repeatable(annotations: object) -> bool:
    """Whether a tool with these annotations may be called twice without harm (ToolAnnotations)."""
    if not isinstance(annotations, dict):
        return False
    return annotations.get("readOnlyHint") is True or annotations.get("idempotentHint") is True
