"""The shape of the values on a failing line: what a model needs most after a wrong key or type.

Pure; it only looks at plain JSON values, so that nothing of the script runs again.
"""

import re
from collections.abc import Mapping

_MAX_VALUES = 3
_MAX_KEYS = 12
_MAX_DEPTH = 2
_MAX_KEY_CHARS = 40


def shapes(source_line: str, names: Mapping[str, object]) -> str:
    """``rows is a list of 3 (dict with keys 'id', 'name')`` for the variables of a line."""
    found = dict.fromkeys(re.findall(r"[^\W\d]\w*", source_line))
    told = [
        f"{name} is {shape(names[name])}"
        for name in found
        if type(names.get(name)) in (dict, list, str)
    ]
    return "; ".join(told[:_MAX_VALUES])


def shape(value: object, depth: int = _MAX_DEPTH) -> str:
    """A JSON value in words: its type, its size, its keys."""
    if isinstance(value, dict):
        return _dict(value, depth)
    if isinstance(value, list):
        inner = f" ({shape(value[0], depth - 1)}, …)" if value and depth > 0 else ""
        return f"a list of {len(value)}{inner}"
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    return "None" if value is None else type(value).__name__


def _dict(value: Mapping[object, object], depth: int) -> str:
    keys = [_key(key, value[key], depth - 1) for key in list(value)[:_MAX_KEYS]]
    more = ", …" if len(value) > _MAX_KEYS else ""
    return f"a dict with keys {', '.join(keys)}{more}" if keys else "an empty dict"


def _key(key: object, item: object, depth: int) -> str:
    name = repr(key)[:_MAX_KEY_CHARS]
    return f"{name} ({shape(item, 0)})" if depth > 0 and isinstance(item, dict | list) else name
