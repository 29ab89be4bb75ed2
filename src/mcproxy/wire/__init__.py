"""JSON-RPC 2.0: messages, and one peer's conversation. Knows no MCP method."""
