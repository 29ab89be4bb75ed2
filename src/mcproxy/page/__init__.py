"""The page for the person who runs the gateway: what it does, in a browser."""
