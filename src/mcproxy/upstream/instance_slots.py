"""Whether a call finds an instance to serve it. Pure.

Every process counts, one that is being stopped too: the limit is of what the machine carries.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

# It runs or starts; its process is being stopped; it has none.
Presence: TypeAlias = Literal["up", "leaving", "asleep"]
Place: TypeAlias = Literal["serve", "wait", "refuse"]


def place(own: Presence | None, others: Iterable[Presence], limit: int) -> Place:
    """What becomes of a call whose own instance is as ``own`` says, None where it has none yet.

    "serve": its own one takes it, started first where it does not run. "wait": until one that
    leaves has left. "refuse": ``limit`` instances are in use, and none is about to go.
    """
    if own in ("up", "leaving"):  # it has its place already
        return "serve"
    held = [presence for presence in others if presence != "asleep"]
    if len(held) < limit:
        return "serve"
    return "wait" if "leaving" in held else "refuse"
