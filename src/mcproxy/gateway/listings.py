"""What one scope offers to clients: its tools, its capabilities, its instructions. Pure."""

from mcproxy.gateway import descriptions, direct
from mcproxy.gateway.scope import Scope
from mcproxy.types import Json, JsonObject


def tools(scope: Scope) -> list[JsonObject]:
    """The tools as ``tools/list`` gives them, by the scope's mode."""
    own: list[JsonObject] = []
    if scope.mode != "direct":
        own = descriptions.definitions(scope.view.tool_counts(), scope.namespace.limits)
    return own + direct.definitions(scope)


def instructions(scope: Scope) -> str:
    """What a client tells its model about this server."""
    if scope.mode == "direct":
        return direct.instructions(scope)
    return descriptions.INSTRUCTIONS


def capabilities(scope: Scope, *, told: bool) -> JsonObject:
    """``ServerCapabilities``: of what servers have, what some server in sight has.

    ``told``: there is a way to tell this client of changes.
    """
    servers = scope.view.manifest.servers.values()
    kinds = {kind for server in servers for kind in server.capabilities}
    changes: JsonObject = {"listChanged": True} if told else {}
    resources = [server.capabilities.get("resources") for server in servers]
    subscribe = told and any(isinstance(each, dict) and each.get("subscribe") for each in resources)
    subscribed: JsonObject = {"subscribe": True} if subscribe else {}
    offered: dict[str, Json] = {
        "prompts": {**changes},
        "resources": {**changes, **subscribed},
        "completions": {},
        "logging": {},
    }
    return {"tools": {**changes}} | {kind: offered[kind] for kind in offered if kind in kinds}
