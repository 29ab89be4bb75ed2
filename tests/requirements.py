"""Every promise of the README and the documentation, by id; tests carry the ids."""

REQUIREMENTS: dict[str, str] = {}
