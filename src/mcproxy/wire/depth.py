"""How deeply JSON may nest that others wrote, where the program is to walk it. Pure.

Reading is bounded by the interpreter (some 1000 levels in Python 3.11, 10,000 in 3.13); what walks
a value (masking, comparing) takes several frames a level, of which there are 1000 in all.
"""

from collections.abc import Iterable

from mcproxy.types import Json

MAX_DEPTH = 128  # a worker makes nothing deeper than 100; no real schema or error comes near


def is_deep(text: bytes, decoded: Json) -> bool:
    """Whether a value nests deeper than MAX_DEPTH; ``text`` is its JSON."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False  # nearly always: not even enough brackets
    level = [decoded]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _members(outer)]
    return any(isinstance(inner, dict | list) for inner in level)


def _members(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
