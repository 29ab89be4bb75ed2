"""Servers that have a URL: Streamable HTTP, HTTP+SSE, sessions, logins."""
