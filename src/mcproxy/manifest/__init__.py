"""What tools exist: the immutable manifest, search over it, and typed stubs."""
