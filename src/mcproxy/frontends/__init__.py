"""Transports towards clients: HTTP, SSE, Streamable HTTP, stdio."""
