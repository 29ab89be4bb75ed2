"""The MCP client side: child processes, remote servers, their sessions and supervision."""
