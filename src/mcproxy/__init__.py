"""MCProxy: an MCP gateway that shows a model two tools, search and execute."""

__version__ = "2.0.0"
