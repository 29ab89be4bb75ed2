"""What runs when nothing is configured: two small servers that need no network.

They are ordinary stdio servers, as an upstream would be, so they use the standard library only and
nothing else of this package: each starts in its own process, within a blink.
"""
