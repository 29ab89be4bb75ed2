"""What a view of the manifest offers to clients: tools, capabilities, instructions. Pure."""

from collections.abc import Mapping

import msgspec

from mcproxy.config.model import Surface
from mcproxy.gateway import descriptions, own_resources
from mcproxy.gateway.snapshot import View
from mcproxy.gateway.surfaces import OWN_TOOLS
from mcproxy.types import Json, JsonObject, Limits, Tool

MAX_INSTRUCTIONS = 4000  # characters; clients put them before every conversation


def direct_tools(view: View, surface: Surface) -> Mapping[str, Tool]:
    """The servers' tools that the client sees, by the names that it sees; none in code mode."""
    match surface:
        case "direct":
            return view.direct
        case "both":
            return view.beside
        case _:
            return {}


class ToolOffer(msgspec.Struct, frozen=True):
    """What a list of tools is made of: the meta-tools as they are told, those of servers by the
    names that clients see, and the URIs of their pages. Equal ones make the same list; to compare
    them takes little where the tools are the same objects."""

    own: list[JsonObject]
    servers: Mapping[str, Tool]
    pages: Mapping[tuple[str, str], str]


def tool_offer(view: View, surface: Surface, limits: Limits) -> ToolOffer:
    """What ``tools`` is made of."""
    own = descriptions.definitions(OWN_TOOLS[surface], view.tool_counts(), limits, view.prefix)
    servers = direct_tools(view, surface)
    return ToolOffer(own, servers, view.pages.shown if servers else {})


def tools(view: View, surface: Surface, limits: Limits) -> list[JsonObject]:
    """The tools as ``tools/list`` gives them: the meta-tools, and those of servers as these declare
    them but for the name, and for the URI of a page that two have chosen alike."""
    offer = tool_offer(view, surface, limits)
    shown, servers = view.pages.definition, offer.servers.items()
    return offer.own + [{**shown(tool), "name": name} for name, tool in servers if not tool.held]


def instructions(view: View, surface: Surface) -> str:
    """What a client tells its model about this server; what servers say of themselves where the
    client sees their tools alone."""
    if surface != "direct":
        return descriptions.instructions(OWN_TOOLS[surface], view.prefix)
    servers = view.manifest.servers.values()
    said = "\n".join(f"{server.name}: {server.description}" for server in servers)
    return said if len(said) <= MAX_INSTRUCTIONS else f"{said[:MAX_INSTRUCTIONS]}…"


def capabilities(view: View, surface: Surface, *, told: bool) -> JsonObject:
    """``ServerCapabilities``: of what servers have, what some server in sight has, and our own.

    ``told``: there is a way to tell this client of changes.
    """
    servers = view.manifest.servers.values()
    kinds = {kind for server in servers for kind in server.capabilities}
    kinds |= {"resources"} if own_resources.listed(surface) else set()
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
