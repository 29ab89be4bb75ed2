"""MCP Apps, ``io.modelcontextprotocol/ui`` (SEP-1865): pages that servers have for their tools.

A tool names its page, a resource ``ui://…``, in ``_meta.ui``; a client that can show one reads it
as any other resource.
"""

from collections.abc import Mapping
from typing import Final

from mcproxy.gateway.extensions.extension import Extension
from mcproxy.gateway.request import RequestContext
from mcproxy.types import JsonObject

ID: Final = "io.modelcontextprotocol/ui"
OFFERED_TO_SERVERS: Final[JsonObject] = {"mimeTypes": ["text/html;profile=mcp-app"]}
"""A tool with a page gives text too (Graceful Degradation), so that nothing is lost where the
client of a call shows none."""


def apps() -> Extension:
    """The extension."""
    return Extension(ID, _offer, in_script=lambda declared: declared)


def _offer(context: RequestContext, declared: Mapping[str, JsonObject]) -> JsonObject | None:
    """No settings are defined for servers; what one says beyond that is of no other."""
    return {} if declared else None
