"""Access tokens of an OAuth issuer: its keys, and what a token says. Needs the extra ``jwt``."""
