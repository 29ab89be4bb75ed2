"""Servers that are no MCP servers: an HTTP API behind its OpenAPI description."""
