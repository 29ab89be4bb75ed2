"""The MCP server side, without transports: methods, meta-tools, the chain around a tool call."""
