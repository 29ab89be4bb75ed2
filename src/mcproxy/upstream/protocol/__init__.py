"""The client's side of MCP: what is said to a server and what it says, whatever carries it."""
