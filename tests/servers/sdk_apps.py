"""An upstream for tests: a tool with a page (MCP Apps), as its author would write it with the
official SDK. Run as ``sys.executable sdk_apps.py``; it speaks both eras."""

from mcp.server.apps import Apps, client_supports_apps
from mcp.server.mcpserver import Context, MCPServer

CLOCK = "ui://clock/page.html"
apps = Apps()


@apps.tool(resource_uri=CLOCK, description="Tell the time.")
def tell(context: Context) -> str:
    """Tell it, with what is known of the client."""
    return f"noon, pages: {client_supports_apps(context)}"


apps.add_html_resource(CLOCK, "<!doctype html><title>Clock</title>", prefers_border=True)
server = MCPServer("clock", version="1.0.0", extensions=[apps], log_level="ERROR")

if __name__ == "__main__":
    server.run()
