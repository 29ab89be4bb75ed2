"""The only way out of a script: a proxy that lets named public hosts through."""
