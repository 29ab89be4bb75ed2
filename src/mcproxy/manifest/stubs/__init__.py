"""Type stubs of all tools, for editors: JSON Schema to types, types to Python and TypeScript."""
