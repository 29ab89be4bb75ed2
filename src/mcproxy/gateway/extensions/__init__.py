"""The protocol's extensions (SEP-2133), each in a module of its own."""
