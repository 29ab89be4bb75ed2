"""What runs inside the sandbox. Standard library only; nothing here is trusted by the gateway."""
